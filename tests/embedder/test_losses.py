from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from embedder.model.taxonomy import MISSING
from embedder.training.losses.attributes import AttributeKind, AttributeLoss
from embedder.training.losses.contrastive import HierarchicalContrastiveLoss
from embedder.training.losses.dependence import BASE, dependence_loss
from embedder.training.losses.layer import effective_number_weights, flat_loss, layer_loss
from embedder.training.losses.metric import MetricKind, MetricLoss
from embedder.training.pseudo_ids import pseudo_products
from embedder.training.titles import mine_attributes
from lookalike.catalogue.catalog import CatalogItem

SIZES = (2, 3, 5)
PARENTS = [torch.zeros(0, dtype=torch.long), torch.tensor([0, 0, 1]), torch.tensor([0, 0, 1, 2, 2])]
SEEDS = st.integers(0, 2**16)


def unit(rows: int, dim: int, seed: int = 0) -> torch.Tensor:
    return functional.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def random_case(seed: int, rows: int = 12) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Logits of each level, and classes of a ragged tree."""
    random = torch.Generator().manual_seed(seed)
    logits = [torch.randn(rows, size, generator=random) for size in SIZES]
    leaf = torch.randint(SIZES[2], (rows,), generator=random)
    level2 = PARENTS[2][leaf]
    classes = torch.stack([PARENTS[1][level2], level2, leaf], dim=1)
    depth = torch.randint(4, (rows, 1), generator=random)
    return logits, torch.where(torch.arange(3) < depth, classes, MISSING)


def commonly_coded(
    logits: list[torch.Tensor], classes: torch.Tensor, level: int, base: float
) -> torch.Tensor:
    """The loss of two levels with its indicators from arg max, of the rows with a class at both."""
    known = classes[:, level] != MISSING
    above, here = logits[level - 1][known].argmax(dim=1), logits[level][known].argmax(dim=1)
    violated = torch.where(PARENTS[level][here] == above, 0.0, 1.0)
    wrong_above = torch.where(above == classes[known, level - 1], 0.0, 1.0)
    wrong_here = torch.where(here == classes[known, level], 0.0, 1.0)
    return (base ** (violated * wrong_above) * base ** (violated * wrong_here) - 1).mean()


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_at_one_hot_outputs_the_dependence_loss_is_the_commonly_coded_one(seed: int) -> None:
    logits, classes = random_case(seed)
    sure = [1000 * functional.one_hot(scores.argmax(dim=1), scores.shape[1]).float() for scores in logits]
    expected = sum(
        commonly_coded(sure, classes, level, BASE)
        for level in (1, 2)
        if bool((classes[:, level] != MISSING).any())
    )
    actual = dependence_loss(sure, classes, PARENTS)
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=torch.float32))


def test_the_dependence_loss_has_a_gradient_where_the_commonly_coded_one_has_none() -> None:
    logits, classes = random_case(3)
    for scores in logits:
        scores.requires_grad_()
    dependence_loss(logits, classes, PARENTS).backward()
    smooth = [scores.grad for scores in logits]
    assert all(gradient is not None and gradient.norm() > 1e-3 for gradient in smooth)
    for level in (1, 2):
        published = commonly_coded(logits, classes, level, BASE)
        assert published > 0
        assert not published.requires_grad  # no path leads back to the scores


def test_the_gradient_of_the_dependence_loss_is_that_of_finite_differences() -> None:
    logits, classes = random_case(4, rows=5)
    inputs = tuple(scores.double().requires_grad_() for scores in logits)
    assert torch.autograd.gradcheck(lambda *x: dependence_loss(x, classes, PARENTS), inputs)


def test_descending_the_dependence_loss_removes_violations() -> None:
    logits, classes = random_case(5, rows=60)
    classes[:, 2] = torch.where(classes[:, 2] == MISSING, 0, classes[:, 2])
    classes[:, 1], classes[:, 0] = PARENTS[2][classes[:, 2]], PARENTS[1][PARENTS[2][classes[:, 2]]]

    def violations() -> float:
        top, middle, leaf = (scores.argmax(dim=1) for scores in logits)
        return float(((PARENTS[1][middle] != top) | (PARENTS[2][leaf] != middle)).float().mean())

    before = violations()
    for scores in logits:
        scores.requires_grad_()
    optimizer = torch.optim.SGD(logits, lr=20)
    for _ in range(50):
        optimizer.zero_grad()
        dependence_loss(logits, classes, PARENTS).backward()
        optimizer.step()
    assert violations() < 0.5 * before


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_renumbering_the_classes_changes_no_loss(seed: int) -> None:
    logits, classes = random_case(seed)
    random = torch.Generator().manual_seed(seed)
    new = [torch.randperm(size, generator=random) for size in SIZES]  # old number -> new number
    renumbered = [
        torch.empty_like(scores).index_copy(1, n, scores) for scores, n in zip(logits, new, strict=True)
    ]
    labels = torch.stack(
        [torch.where(classes[:, i] == MISSING, MISSING, new[i][classes[:, i]]) for i in range(3)], dim=1
    )
    parents = [PARENTS[0]] + [
        torch.empty_like(PARENTS[i]).index_copy(0, new[i], new[i - 1][PARENTS[i]]) for i in (1, 2)
    ]
    torch.testing.assert_close(
        dependence_loss(renumbered, labels, parents),
        dependence_loss(logits, classes, PARENTS),
    )
    torch.testing.assert_close(
        layer_loss(renumbered, labels, (1, 1, 1)), layer_loss(logits, classes, (1, 1, 1))
    )


def test_rows_without_a_class_do_not_count() -> None:
    logits, classes = random_case(6)
    full = (classes != MISSING).all(dim=1)
    ragged = torch.cat([classes[full], torch.tensor([[1, MISSING, MISSING], [MISSING] * 3])])
    padded = [torch.cat([scores[full], scores[:2]]) for scores in logits]
    torch.testing.assert_close(
        dependence_loss(padded, ragged, PARENTS),
        dependence_loss([scores[full] for scores in logits], classes[full], PARENTS),
    )
    none = torch.full_like(classes, MISSING)
    assert dependence_loss(logits, none, PARENTS).item() == 0
    assert layer_loss(logits, none, (1.0, 1.0, 1.0)).item() == 0
    assert flat_loss(logits, none).item() == 0
    expected = functional.cross_entropy(padded[0][:-1], ragged[:-1, 0])
    torch.testing.assert_close(layer_loss(padded, ragged, (1.0, 0.0, 0.0)), expected)


def test_class_weights_follow_the_effective_number_of_samples() -> None:
    counts = torch.tensor([1, 10, 1000])
    torch.testing.assert_close(effective_number_weights(counts, 0.0), torch.ones(3))
    weights = effective_number_weights(counts, 0.9)
    expected = np.array([(1 - 0.9) / (1 - 0.9**n) for n in (1, 10, 1000)])
    np.testing.assert_allclose(weights, expected / expected.mean(), rtol=1e-5)
    nearly_counts = effective_number_weights(counts, 1 - 1e-9)
    torch.testing.assert_close(nearly_counts[0] / nearly_counts[2], torch.tensor(1000.0), rtol=1e-3, atol=0)
    logits, classes = [torch.randn(4, 3)], torch.tensor([[0], [1], [2], [MISSING]])
    torch.testing.assert_close(
        layer_loss(logits, classes, (1.0,), [weights]),
        functional.cross_entropy(logits[0], classes[:, 0], weight=weights, ignore_index=MISSING),
    )


def test_the_flat_loss_is_the_log_probability_of_the_deepest_class() -> None:
    leaf = torch.tensor([[0.1, 0.2, 0.3, 0.25, 0.15]] * 2)
    level2 = torch.stack([leaf[:, PARENTS[2] == c].sum(dim=1) for c in range(3)], dim=1)
    logits = [torch.ones(2, 2).log(), level2.log(), leaf.log()]
    classes = torch.tensor([[0, 0, 1], [1, 2, MISSING]])
    assert flat_loss(logits, classes).item() == pytest.approx(-(np.log(0.2) + np.log(0.4)) / 2)


KINDS: tuple[MetricKind, ...] = ("proxy_anchor", "arcface", "supcon")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hard_negatives", [False, True])
def test_metric_losses_fall_as_photos_of_a_product_come_together(
    kind: MetricKind, hard_negatives: bool
) -> None:
    products = torch.tensor([0, 0, 1, 1, MISSING, MISSING])
    together = functional.normalize(torch.eye(8)[[0, 0, 1, 1, 2, 3]] + 0.05 * unit(6, 8), dim=1)
    mixed = functional.normalize(torch.eye(8)[[0, 1, 1, 0, 2, 3]] + 0.05 * unit(6, 8), dim=1)
    loss = MetricLoss(kind, together, products, hard_negatives=hard_negatives)
    assert loss(together, products) < loss(mixed, products)
    torch.testing.assert_close(loss(mixed, products), loss(mixed[:4], products[:4]))
    assert loss(mixed, torch.full((6,), MISSING)).item() == 0
    mixed.requires_grad_()
    loss(mixed, products).backward()
    assert mixed.grad is not None
    assert mixed.grad[:4].norm() > 0
    assert mixed.grad[4:].norm() == 0


def naive_himulcon(z: torch.Tensor, labels: list[tuple[int, ...]], temperature: float) -> float:
    """The formula, pair by pair."""
    rows, levels, floor, total = list(range(len(labels))), len(labels[0]), 0.0, 0.0
    for number in range(1, levels + 1):
        prefix = {row: labels[row][: levels - number + 1] for row in rows}
        losses = []
        for a in rows:
            positives = [p for p in rows if p != a and prefix[p] == prefix[a]]
            if not positives:
                continue
            scores = {b: float(z[a] @ z[b]) / temperature for b in rows if b != a}
            below = np.log(sum(np.exp(value) for value in scores.values()))
            losses.append(-np.mean([scores[p] - below for p in positives]))
        there_is_another = len(set(prefix.values())) > 1
        floor = max(floor, float(np.mean(losses)) if losses and there_is_another else 0.0)
        total += 2 ** (1 / number) * floor
        rows = [next(row for row in rows if prefix[row] == group) for group in dict.fromkeys(prefix.values())]
    return total / levels


def test_himulcon_is_its_formula_and_uses_every_level() -> None:
    labels = [
        (0, 0, 0, 0),
        (0, 0, 0, 0),
        (0, 0, 0, 1),
        (0, 0, 1, 2),
        (0, 1, 2, 3),
        (1, 2, 3, 4),
        (1, 2, 4, 5),
    ]
    z = unit(len(labels), 8)
    table = torch.tensor(labels)
    loss = HierarchicalContrastiveLoss(temperature=0.5)
    value = loss(z, table[:, :3], table[:, 3])
    assert value.item() == pytest.approx(naive_himulcon(z, labels, 0.5), rel=1e-4)
    other_leaf = table.clone()
    other_leaf[2, 2:] = torch.tensor([7, 8])
    assert loss(z, other_leaf[:, :3], other_leaf[:, 3]) != value
    other_product = table.clone()
    other_product[1, 3] = 9
    assert loss(z, other_product[:, :3], other_product[:, 3]) != value


def test_himulcon_takes_ragged_rows_and_products_of_one_photo() -> None:
    z = unit(6, 8).requires_grad_()
    classes = torch.tensor(
        [[0, 0, MISSING], [0, 0, MISSING], [0, 1, 0], [1, MISSING, MISSING], [1, 2, 1], [1, 2, 1]]
    )
    products = torch.tensor([0, 0, MISSING, MISSING, 1, 1])
    loss = HierarchicalContrastiveLoss()
    loss(z, classes, products).backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()
    assert loss(z, torch.full_like(classes, MISSING), torch.full_like(products, MISSING)).item() == 0


def test_words_that_recur_in_titles_become_attributes() -> None:
    titles = ["Red cotton Shirt M", "Blue cotton shirt 42", "red wool shirt", "Blue silk shirt", "", "hat"]
    mined = mine_attributes(titles, min_count=2)
    assert mined.names == ("blue", "cotton", "red")  # "shirt" is in more than half of the five titles
    assert mined.rows == ((1, 2), (0, 1), (2,), (0,), (), ())
    torch.testing.assert_close(mined.targets([1, 4]), torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    assert mine_attributes(titles, min_count=2, limit=1).names == ("blue",)


@pytest.mark.parametrize("kind", ["softmax", "bce"])
def test_the_attribute_loss_can_be_learned_and_skips_rows_without_attributes(kind: AttributeKind) -> None:
    torch.manual_seed(0)
    z, targets = unit(5, 6), torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]])
    loss = AttributeLoss(kind, 6, 3)
    torch.testing.assert_close(loss(z, targets), loss(z[:4], targets[:4]))
    assert loss(z, torch.zeros(5, 3)).item() == 0
    start = loss(z, targets).item()
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        loss(z, targets).backward()
        optimizer.step()
    assert loss(z, targets).item() < 0.8 * start


def test_pseudo_products_are_near_copies_or_equal_titles_of_one_category() -> None:
    def item(name: str, title: str, *categories: str) -> CatalogItem:
        return CatalogItem(name, name, Path(name), title, categories)

    items = [
        item("a", "Red Shirt", "shirts"),
        item("b", "red  shirt", "shirts"),
        item("c", "another", "shirts"),
        item("d", "", "shirts"),
        item("e", "", "shirts"),
        item("f", "red shirt", "ties"),
    ]
    features = torch.eye(6)
    features[2] = functional.normalize(features[1] + 0.1 * features[2], dim=0)
    ids = pseudo_products(items, features.numpy())
    assert ids[0] == ids[1] == ids[2]
    assert len({ids[0], ids[3], ids[4], ids[5]}) == 4
