"""The category trees of models, each asked of the embedder once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lookalike.categories.belief import Belief
from lookalike.categories.tree import PathTree
from lookalike.errors import LookalikeError
from lookalike.v1 import embedder_pb2
from lookalike.wire.vectors import WIRE_DTYPE

_MOST = 8
"""Models that are remembered; a gateway serves few at a time."""


class Trees:
    """Remembers the tree of each model by its version."""

    def __init__(self) -> None:
        self._trees: dict[str, PathTree] = {}

    def ask(self, request: embedder_pb2.EmbedRequest) -> None:
        """Asks for the probabilities of paths, and for the paths where they are not known yet."""
        request.with_path_probabilities = True
        request.with_paths = request.model_version not in self._trees

    def beliefs(self, response: embedder_pb2.EmbedResponse) -> Sequence[Belief]:
        """Reads what the model says of each photo; nothing for a model without categories.

        Args:
            response: To a request that was asked by :meth:`ask`; every photo was embedded.

        Raises:
            LookalikeError: The probabilities do not fit the model's paths.
        """
        # An embedder of before there were paths answers without them.
        tree = self._trees.get(response.model_version) or self._remembered(response)
        found = [
            np.frombuffer(result.embedded.path_probabilities_f32_le, WIRE_DTYPE)
            for result in response.results
        ]
        if not tree.ends or not all(map(len, found)):
            return ()
        if any(len(posterior) != len(tree.ends) for posterior in found):
            raise LookalikeError("the embedder's answer does not fit its model's categories")
        return [Belief(tree, posterior.astype(np.float64)) for posterior in found]

    def _remembered(self, response: embedder_pb2.EmbedResponse) -> PathTree:
        tree = PathTree.of_ends([tuple(path.names) for path in response.paths])
        if tree.ends:
            if len(self._trees) >= _MOST:
                self._trees.pop(next(iter(self._trees)))
            self._trees[response.model_version] = tree
        return tree


def mean_of(beliefs: Sequence[Belief]) -> Belief | None:
    """Returns what several photos of one product say together; None for none."""
    if not beliefs:
        return None
    return Belief(beliefs[0].tree, np.mean([one.posterior for one in beliefs], axis=0))
