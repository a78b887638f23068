from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hasher.index import HashIndex

V = np.eye(4, dtype=np.float32)
IDS = np.arange(4, dtype=np.uint64)


@pytest.fixture
def index() -> HashIndex:
    return HashIndex.build(V, IDS)


def misaligned(array: NDArray[Any]) -> NDArray[Any]:
    """The same one byte further, as a view of a file may be."""
    out = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    out[...] = array
    assert not out.flags.aligned
    return out


def test_misaligned_vectors_are_refused(index: HashIndex) -> None:
    with pytest.raises(ValueError, match="vectors must be aligned"):
        HashIndex.build(misaligned(V), IDS)
    with pytest.raises(ValueError, match="vectors must be aligned"):
        index.add(misaligned(V), IDS)
    with pytest.raises(ValueError, match="queries must be aligned"):
        index.search(misaligned(V))


def test_tuning_without_queries_is_refused(index: HashIndex) -> None:
    with pytest.raises(ValueError, match="queries must hold at least one query"):
        index.tune(0.9, queries=V[:0])


def test_a_bad_row_is_called_what_it_is(index: HashIndex) -> None:
    zero, infinite = V.copy(), V.copy()
    zero[2], infinite[1, 1] = 0, np.inf
    with pytest.raises(ValueError, match=r"^query 2 has zero length"):
        index.search(zero)
    with pytest.raises(ValueError, match=r"^query 1 has a NaN or infinite value"):
        index.search(infinite)
    with pytest.raises(ValueError, match=r"^query 1 has a NaN or infinite value"):
        index.tune(0.9, queries=infinite)
    with pytest.raises(ValueError, match=r"^vector 2 has zero length"):
        index.add(zero, IDS)


def test_ids_may_lie_anywhere_in_memory(index: HashIndex) -> None:
    other = HashIndex.build(V, misaligned(IDS), misaligned(IDS))
    assert other.search(V, 1)[0].tolist() == index.search(V, 1)[0].tolist()
    assert index.remove(misaligned(IDS[:3])) == 3


@pytest.mark.parametrize("wrong", [[], None, 5, np.array(["int8", "f16"])])
@pytest.mark.parametrize("option", ["family", "rerank", "rotation", "estimate"])
def test_options_that_are_no_text_are_refused(option: str, wrong: Any, index: HashIndex) -> None:
    def call() -> object:
        if option == "estimate":
            return index.search(V, estimate=wrong)
        return HashIndex.build(V, IDS, **{option: wrong})

    with pytest.raises(ValueError, match=f"{option} must be text, not {type(wrong).__name__}; use one of "):
        call()
