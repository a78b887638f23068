from __future__ import annotations

from pathlib import Path

import pytest

from lookalike.catalogue.pairs import LabelledQuery, read_pairs
from lookalike.errors import InvalidInputError, Reason


def _file(folder: Path, text: str) -> Path:
    (folder / "a.jpg").write_bytes(b"photo")
    path = folder / "pairs.csv"
    path.write_text(text)
    return path


def test_photos_and_items_are_read_with_their_products(tmp_path: Path) -> None:
    path = _file(tmp_path, "image_path,item_id,product_id,note\na.jpg,,p1,x\n,i 2,p2,\n\na.jpg,,,gone\n")
    assert read_pairs(path) == [
        LabelledQuery("p1", image_path=tmp_path / "a.jpg"),
        LabelledQuery("p2", item_id="i 2"),
        LabelledQuery("", image_path=tmp_path / "a.jpg"),
    ]


def test_one_kind_of_query_needs_one_column(tmp_path: Path) -> None:
    assert read_pairs(_file(tmp_path, "product_id,item_id\np,i\n")) == [LabelledQuery("p", item_id="i")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image_path,item_id\na.jpg,\n", "line 1: missing column product_id"),
        ("product_id\np\n", "line 1: missing column image_path or item_id"),
        ("product_id,image_path\np,b.jpg\n", "line 2: there is no photo b.jpg"),
        ("product_id,image_path\np,a.jpg\np,\n", "line 3: fill image_path or item_id"),
        ("product_id,image_path,item_id\np,a.jpg,i\n", "line 2: fill image_path or item_id"),
        ("product_id,image_path\n", "line 1: there are no rows"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem) as caught:
        read_pairs(_file(tmp_path, text))
    assert caught.value.reason is Reason.CATALOG_INVALID
