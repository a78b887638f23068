from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hasher.index import NO_ID, HashIndex

MAX_DOCUMENT_BYTES = 2**24
COUNT = 400
VECTORS = np.random.default_rng(3).standard_normal((COUNT, 16)).astype(np.float32)
IDS = np.arange(COUNT, dtype=np.uint64) + np.uint64(10)
DOCUMENTS = [f"document {number}".encode() * (number % 3) for number in range(COUNT)]


def check(index: HashIndex, expected: dict[int, bytes]) -> None:
    for options in ({}, {"exact": True}, {"group": True, "ties": True}):
        found = index.search_detailed(VECTORS[:20], 7, documents=True, **options)  # type: ignore[arg-type]
        for ids, documents in zip(found.ids.tolist(), found.documents, strict=True):
            assert documents == [expected[number] for number in ids if number != NO_ID]
    ids = np.array([*expected, 1, 5_000_000], dtype=np.uint64)
    assert index.documents(ids) == [*expected.values(), None, None]


def test_searches_return_the_documents_of_what_they_find(tmp_path: Path) -> None:
    index = HashIndex.build(VECTORS, IDS, documents=DOCUMENTS)
    expected = dict(zip(IDS.tolist(), DOCUMENTS, strict=True))
    check(index, expected)
    index.remove(IDS[3:9])
    for number in IDS[3:9].tolist():
        del expected[number]
    index.add(VECTORS[30:33], IDS[30:33], documents=(b"new", b"", b"\x00\xff"))
    expected |= dict(zip(IDS[30:33].tolist(), (b"new", b"", b"\x00\xff"), strict=True))
    index.add(VECTORS[40:41], IDS[40:41])
    expected[int(IDS[40])] = b""
    check(index, expected)
    index.save(tmp_path)
    again = HashIndex.open(tmp_path)
    check(again, expected)
    size = sum(map(len, expected.values()))
    assert size <= again.stats()["document_bytes"] <= size + 4096


def test_short_rows_have_as_many_documents_as_hits() -> None:
    index = HashIndex.build(VECTORS[:3], IDS[:3], documents=DOCUMENTS[:3])
    found = index.search_detailed(VECTORS[:2], 5, documents=True)
    assert [len(row) for row in found.documents] == [3, 3]
    assert index.search_detailed(VECTORS[:2], 5).documents == []
    assert HashIndex.build(VECTORS[:0], IDS[:0]).search_detailed(VECTORS[:2], documents=True).documents == [
        [],
        [],
    ]


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([b"a"], "2 ids but documents of 1 items"),
        ([b"a", "b"], r"documents\[1\] must be bytes, not str"),
        (b"ab", "documents must be a list of bytes, not bytes"),
        ([b"a", bytes(MAX_DOCUMENT_BYTES + 1)], f"at most {MAX_DOCUMENT_BYTES}"),
    ],
)
def test_wrong_documents_are_refused(documents: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HashIndex.build(VECTORS[:2], IDS[:2], documents=documents)
    index = HashIndex.build(VECTORS[:2], IDS[:2], documents=[b"x", b"y"])
    with pytest.raises(ValueError, match=message):
        index.add(VECTORS[2:4], IDS[1:3], documents=documents)
    assert index.documents(IDS[:3]) == [b"x", b"y", None]
    index.add(VECTORS[2:3], IDS[2:3], documents=[bytes(MAX_DOCUMENT_BYTES)])
