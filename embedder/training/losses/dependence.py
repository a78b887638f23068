"""The dependence loss: what it costs when a level's class is not a child of the class one level up.

Gao et al. (arXiv 2005.06692) punish a violation between two levels by how wrong the levels are. As
commonly coded, ``p^(D I_above) p^(D I_here) - 1``, its indicators come from arg max: ``D`` is 1 if the
two predicted classes are not parent and child, ``I`` is 1 if a level's prediction is wrong. Arg max has
no derivative, so that loss changes nothing in training. Here the indicators are expectations under the
predicted distributions::

    v = 1 - sum_c p_here(c) p_above(parent(c))     the probability of a violation
    e = 1 - p(true class)                          the probability of a mistake
    loss = p^(v e_above) p^(v e_here) - 1

At one-hot outputs the value is that of the hard loss; everywhere else there is a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from embedder.model.taxonomy import MISSING

BASE = 3.0
"""The constant ``p`` of the implementations in use."""


def dependence_loss(logits: Sequence[Tensor], classes: Tensor, parents: Sequence[Tensor]) -> Tensor:
    """Returns the sum over neighbouring levels of the mean dependence loss.

    A certain violation between two wrong levels costs ``BASE**2 - 1``.

    Args:
        logits: For each level ``(B, C_l)``, from the root down.
        classes: ``(B, levels)`` int64; :data:`MISSING` where a row has no class. Between two levels only
            the rows with a class at both count.
        parents: For each level ``(C_l,)`` int64, the parent of each class; the first is not read.
    """
    total = torch.zeros((), device=classes.device)
    probabilities = [scores.softmax(dim=1) for scores in logits]
    for level in range(1, len(probabilities)):
        known = (classes[:, level] != MISSING) & (classes[:, level - 1] != MISSING)
        above, here = probabilities[level - 1][known], probabilities[level][known]
        violation = 1 - (here * above[:, parents[level]]).sum(dim=1)
        wrong = 2 - sum(
            values.gather(1, classes[known, depth, None]).squeeze(1)
            for values, depth in ((above, level - 1), (here, level))
        )
        total = total + (BASE ** (violation * wrong) - 1).sum() / known.sum().clamp(min=1)
    return total
