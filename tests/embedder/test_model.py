from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embedder.model.heads import DeepHierarchicalClassifier, EmbeddingHead, FlatClassifier
from embedder.model.taxonomy import MISSING, Taxonomy

CATEGORIES = st.lists(st.lists(st.sampled_from("abc"), max_size=3).map(tuple), max_size=12)


@given(CATEGORIES)
def test_taxonomy_encodes_every_prefix_as_its_own_class(categories: list[tuple[str, ...]]) -> None:
    taxonomy = Taxonomy.from_categories(categories)
    for category, codes in zip(categories, taxonomy.encode(categories), strict=True):
        for depth, code in enumerate(codes, start=1):
            if depth > len(category):
                assert code == MISSING
            else:
                assert taxonomy.paths[depth - 1][code] == category[:depth]
                assert depth == 1 or taxonomy.parents[depth - 1][code] == codes[depth - 2]


@given(CATEGORIES, st.randoms())
def test_taxonomy_does_not_depend_on_the_order_of_rows(
    categories: list[tuple[str, ...]], random: object
) -> None:
    shuffled = list(categories)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert Taxonomy.from_categories(shuffled) == Taxonomy.from_categories(categories)


def test_equal_names_under_other_parents_are_other_classes() -> None:
    taxonomy = Taxonomy.from_categories([("shoes", "sport"), ("clothes", "sport"), ("shoes",)])
    assert taxonomy.paths == ((("clothes",), ("shoes",)), (("clothes", "sport"), ("shoes", "sport")))
    assert taxonomy.parents == ((), (0, 1))
    assert taxonomy.encode([("shoes",), ("shoes", "formal"), ()]) == [
        [1, MISSING],
        [1, MISSING],
        [MISSING] * 2,
    ]


def features(rows: int, dim: int, seed: int = 0) -> torch.Tensor:
    spread = torch.linspace(3, 0.1, dim)
    values = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)) * spread + 1
    return torch.nn.functional.normalize(values, dim=1)


def test_without_groups_the_head_starts_as_the_principal_components() -> None:
    data = features(200, 24)
    head = DeepHierarchicalClassifier(24, (2, 3), embedding_dim=8, level_width=5).eval()
    head.start_from(data, torch.arange(200))
    centred = (data - data.mean(dim=0)).double().numpy()
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ axes[:8].T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    actual = head(data).embedding.detach().numpy()
    np.testing.assert_allclose(actual @ actual.T, expected @ expected.T, atol=1e-4)


def test_the_start_finds_products_behind_a_nuisance_that_they_share() -> None:
    """Photos of a product differ along two strong directions, products along the other, weak ones."""
    random = torch.Generator().manual_seed(0)

    def photos(products: int) -> torch.Tensor:
        identity = torch.randn(products, 1, 16, generator=random) * torch.tensor([0.0] * 2 + [1.0] * 14)
        nuisance = torch.randn(products, 5, 16, generator=random) * torch.tensor([6.0] * 2 + [0.3] * 14)
        return torch.nn.functional.normalize((identity + nuisance + 4).flatten(0, 1), dim=1)

    def share_of_neighbours_of_the_same_product(vectors: torch.Tensor) -> float:
        similarity = (vectors @ vectors.T).fill_diagonal_(-1)
        same = similarity.argmax(dim=1) // 5 == torch.arange(len(vectors)) // 5
        return float(same.float().mean())

    train, unseen = photos(40), photos(40)
    head = DeepHierarchicalClassifier(16, (), embedding_dim=8, level_width=5).eval()
    head.start_from(train, torch.arange(40).repeat_interleave(5))
    found = share_of_neighbours_of_the_same_product(head(unseen).embedding.detach())
    assert found > share_of_neighbours_of_the_same_product(unseen) + 0.2


def test_deeper_levels_see_the_representations_above_them() -> None:
    head = DeepHierarchicalClassifier(6, (2, 3, 4), embedding_dim=4, level_width=5)
    output = head(features(7, 6))
    assert [tuple(logits.shape) for logits in output.logits] == [(7, 2), (7, 3), (7, 4)]
    torch.testing.assert_close(output.embedding.norm(dim=1), torch.ones(7))
    output.logits[2].sum().backward()
    assert all(layer[0].weight.grad.abs().sum() > 0 for layer in head.levels)  # type: ignore[index, union-attr]
    head.zero_grad()
    head(features(7, 6)).logits[0].sum().backward()
    assert head.levels[2][0].weight.grad is None  # type: ignore[index]


def test_a_level_is_not_an_affine_map_of_the_feature() -> None:
    head = DeepHierarchicalClassifier(6, (3,), embedding_dim=4, level_width=5).eval()
    x, y = features(2, 6)
    middle = head(((x + y) / 2)[None]).logits[0]
    ends = head(torch.stack([x, y])).logits[0]
    assert (middle[0] - ends.mean(dim=0)).abs().max() > 1e-4


def test_a_head_without_categories_only_embeds() -> None:
    head = DeepHierarchicalClassifier(6, (), embedding_dim=4, level_width=5)
    head.start_from(features(20, 6), torch.arange(20))
    output = head(features(3, 6))
    assert output.logits == ()
    assert output.embedding.shape == (3, 4)


def test_the_flat_head_marginalises_up_a_ragged_tree() -> None:
    tree = Taxonomy.from_categories([("a", "x", "1"), ("a", "x", "2"), ("a", "y"), ("b",)])
    assert tree.ends() == [("b",), ("a", "y"), ("a", "x", "1"), ("a", "x", "2")]
    head = FlatClassifier(6, tree, embedding_dim=4, level_width=5).eval()
    data = features(7, 6)
    embedding, logits = head(data)
    assert embedding.shape == (7, 4)
    meta, level2, leaf = (level.exp() for level in logits)
    torch.testing.assert_close(meta.sum(dim=1), torch.ones(7))
    torch.testing.assert_close(level2[:, 0], leaf.sum(dim=1))
    torch.testing.assert_close(meta[:, 0], level2.sum(dim=1))
    logits[0][:, 0].sum().backward()
    assert head.level[0].weight.grad.abs().sum() > 0


def test_a_plain_embedding_head_only_embeds() -> None:
    head = EmbeddingHead(6, 0, embedding_dim=4)
    head.start_from(features(20, 6), torch.arange(20))
    output = head(features(3, 6))
    assert output.logits == ()
    torch.testing.assert_close(output.embedding.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize(
    ("paths", "parents"),
    [
        (((("a",),),), ()),
        (((("a",), ("a",)),), ((),)),
        (((("a",),), (("b", "c"),)), ((), (0,))),
        (((("a",),), (("a", "c"),)), ((), (1,))),
        (((),), ((),)),
    ],
)
def test_taxonomies_that_contradict_themselves_are_refused(paths: object, parents: object) -> None:
    with pytest.raises(ValueError, match=r"level|parents"):
        Taxonomy(paths, parents)  # type: ignore[arg-type]
