from __future__ import annotations

import bz2
import csv
import gzip
import lzma
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.catalogue.catalog import COLUMNS, SPLITS, Catalog, CatalogItem, read_catalog, write_catalog
from lookalike.errors import InvalidInputError, Reason

HEADER = ",".join(COLUMNS)


def write(folder: Path, *lines: str, header: str = HEADER) -> Path:
    for name in ("a.jpg", "b.jpg"):
        (folder / name).touch()
    path = folder / "shop.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def refused(path: Path, *, check_images: bool = True) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        read_catalog(path, check_images=check_images)
    return caught.value


def test_a_full_disk_is_named_by_the_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write_catalog(path, [CatalogItem("1", "p1", tmp_path / "a.jpg")])
    assert caught.value.filename == str(path)


def test_reads_rows_attributes_and_ragged_categories(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "1,p1,a.jpg,A mug,Home,Kitchen,Mugs,train,blue,",
        "2,p1,b.jpg,,Home,,,index;query,,3",
        "3,p2,a.jpg,,,,,,,",
        header=HEADER + ",colour,size",
    )
    catalog = read_catalog(path)
    first, second, third = catalog.items
    assert first == CatalogItem(
        item_id="1",
        product_id="p1",
        image_path=tmp_path / "a.jpg",
        title="A mug",
        categories=("Home", "Kitchen", "Mugs"),
        attributes={"colour": "blue"},
        splits=frozenset({"train"}),
    )
    assert second.categories == ("Home",)
    assert second.splits == {"index", "query"}
    assert second.attributes == {"size": "3"}
    assert third.categories == ()
    assert third.splits == frozenset()
    assert catalog.root == tmp_path


@pytest.mark.parametrize("cell", ["train both", "train|both", "train;both", "both ; train"])
def test_a_split_cell_may_name_several(tmp_path: Path, cell: str) -> None:
    catalog = read_catalog(write(tmp_path, f"1,p,a.jpg,,M,,,{cell}"))
    assert catalog.items[0].splits == {"train", "both"}


def test_byte_order_mark_crlf_quotes_and_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    path = tmp_path / "shop.csv"
    rows = f'{HEADER}\r\n1,p,a.jpg,"Mug, ""big""\nand blue",M,L,F,index\r\n\r\n2,p,a.jpg,x,M,,,index\r\n'
    path.write_bytes(b"\xef\xbb\xbf" + rows.encode())
    catalog = read_catalog(path)
    assert [item.title for item in catalog.items] == ['Mug, "big"\nand blue', "x"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
def test_every_line_end_is_read(tmp_path: Path, end: str, mark: bytes) -> None:
    (tmp_path / "a.jpg").touch()
    path = tmp_path / "shop.csv"
    quoted = f'1,p,a.jpg,"A mug,{end}blue",M,,,index'
    blank = ["", "   ", "\t", " , , ,,,,,", ",,,,,,,"]
    path.write_bytes(mark + end.join([HEADER, quoted, *blank, "2,p,a.jpg,x\u2028y\x0bz,M,,,index"]).encode())
    first, second = read_catalog(path).items
    assert first.title == f"A mug,{end}blue"
    assert second.title == "x\u2028y\x0bz"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_a_wrong_row_is_named_by_its_line_whatever_the_line_ends(tmp_path: Path, end: str) -> None:
    path = tmp_path / "shop.csv"
    path.write_bytes(end.join([HEADER, "1,p,a.jpg,,M,,,", "", ",p,a.jpg,,M,,,"]).encode())
    assert refused(path, check_images=False).message == "shop.csv, line 4: the item_id is empty"


ROW = "1,p,a.jpg,Café,M,,,index"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-16", "line 1: the file is in UTF-16, not UTF-8; save the catalogue as UTF-8 CSV"),
        ("utf-16-le", "line 1: the file is in UTF-16, not UTF-8"),
        ("utf-16-be", "line 1: the file is in UTF-16, not UTF-8"),
        ("latin-1", "line 2: not UTF-8 text, but perhaps Windows-1252 or Latin-1 (byte 0xe9 in ',a.jpg,Caf"),
        ("cp1252", "line 2: not UTF-8 text, but perhaps Windows-1252 or Latin-1"),
        ("mac-roman", "line 2: not UTF-8 text"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_other_encodings_are_named(tmp_path: Path, encoding: str, text: str, end: str) -> None:
    path = tmp_path / "shop.csv"
    path.write_bytes(end.join([HEADER, ROW, ROW]).encode(encoding))
    assert text in refused(path).message
    path.write_bytes(b"\xfe\xff" + end.join([HEADER, ROW]).encode("utf-16-be"))
    assert "in UTF-16" in refused(path).message


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (gzip.compress(b"a,b"), "packed by gzip, not text"),
        (bz2.compress(b"a,b"), "packed by bzip2, not text"),
        (lzma.compress(b"a,b"), "packed by xz, not text"),
        (b"\x28\xb5\x2f\xfd\x04\x58", "packed by Zstandard, not text"),
        (b"PK\x03\x04\x14\xd4\n\xff", "a ZIP file or a spreadsheet, not text"),
        (b"PAR1\x15\x04\x15\x20", "a Parquet file, not text"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "a JPEG photo, not text"),
        (b"\x89PNG\r\n\x1a\n\x00", "a PNG photo, not text"),
        (bytes(4096), "not a text file"),
        (b"shop/" + bytes(200) + b"0000644", "not a text file"),
        (b"RIFF\xd4\x9c\x04\x08WEBPVP8 ", "not a text file"),
        (HEADER.encode() + b"\n\x02\xd4", "not a text file"),
    ],
)
def test_files_that_are_not_text_are_named(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "shop.csv"
    path.write_bytes(content)
    assert f"the file is {kind}; the catalogue must be plain UTF-8 CSV" in refused(path).message


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
@pytest.mark.parametrize("quote", ["", '"'])
def test_another_separator_is_named(tmp_path: Path, separator: str, name: str, quote: str) -> None:
    path = tmp_path / "shop.csv"
    cells = [separator.join(f"{quote}{cell}{quote}" for cell in line.split(",")) for line in (HEADER, ROW)]
    path.write_text("\n".join(cells) + "\n")
    expected = f"shop.csv, line 1: the columns are separated by {name}; save the catalogue with commas"
    assert refused(path).message == expected
    assert "missing column" in refused(write(tmp_path, header="item_id,title;more|tags")).message


def test_an_image_may_lie_above_the_folder(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "lists").mkdir()
    path = write(tmp_path / "lists", "1,p,../photo.jpg,,M,,,index")
    assert read_catalog(path).items[0].image_path.is_file()


def _item(name: str, *splits: str) -> CatalogItem:
    return CatalogItem(item_id=name, product_id="p", image_path=Path(name), splits=frozenset(splits))


def test_helpers_pick_rows_by_split() -> None:
    train, index, query, both = (
        _item("1", "train"),
        _item("2", "index"),
        _item("3", "query"),
        _item("4", "both"),
    )
    catalog = Catalog(items=(train, index, query, both), root=Path())
    assert catalog.index_items() == [index, both]
    assert catalog.query_items() == [query, both]
    assert catalog.rows("train", "query") == [train, query]
    assert catalog.training_items() == ([train], "train")
    assert Catalog(items=(index, query, both), root=Path()).training_items() == ([index, both], "index")
    with pytest.raises(InvalidInputError, match="nothing to train on"):
        Catalog(items=(query,), root=Path()).training_items()


@pytest.mark.parametrize(
    ("row", "line", "text", "reason"),
    [
        (",p,a.jpg,,M,,,", 3, "item_id is empty", Reason.CATALOG_INVALID),
        ("2,,a.jpg,,M,,,", 3, "product_id is empty", Reason.CATALOG_INVALID),
        ("2,p,,,M,,,", 3, "image_path is empty", Reason.CATALOG_INVALID),
        ("2,p,a.jpg,,M,,Leaf,", 3, "level2 is empty above leaf 'Leaf'", Reason.CATEGORY_INVALID),
        ("2,p,a.jpg,,,Level,,", 3, "meta is empty above level2 'Level'", Reason.CATEGORY_INVALID),
        ("1,q,a.jpg,,M,,,", 3, "'q' here but 'p' on line 2", Reason.PRODUCT_CONFLICT),
        ("1,p,b.jpg,,M,,,", 3, "already on line 2", Reason.CATALOG_INVALID),
        ("2,p,a.jpg,,M,,,test", 3, "unknown split 'test'", Reason.CATALOG_INVALID),
        ("2,p,a.jpg,,M,,", 3, "7 cells where the header has 8", Reason.CATALOG_INVALID),
        (f"{'2' * 129},p,a.jpg,,M,,,", 3, "the item_id has 129 bytes, at most 128", Reason.CATALOG_INVALID),
        (f"2,p,a.jpg,{'é' * 513},M,,,", 3, "the title has 1026 bytes, at most 1024", Reason.CATALOG_INVALID),
        (f"2,p,a.jpg,,M,{'b' * 257},,", 3, "the level2 has 257 bytes, at most 256", Reason.CATALOG_INVALID),
        ('2,p,a.jpg,"never closed,M,,,', 3, "not a well-formed CSV row", Reason.CATALOG_INVALID),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(
    tmp_path: Path, row: str, line: int, text: str, reason: Reason
) -> None:
    error = refused(write(tmp_path, "1,p,a.jpg,,M,,,index", row))
    assert error.message.startswith(f"shop.csv, line {line}: ")
    assert text in error.message
    assert error.reason is reason


@pytest.mark.parametrize(
    ("columns", "value", "text"),
    [
        ([f"c{n}" for n in range(65)], "x", "line 2: 65 further columns are filled; at most 64 can be"),
        (["size"], "x" * 1025, "line 2: the size has 1025 bytes, at most 1024"),
        (["s" * 65], "x", "line 1: a column's name has more than 64 bytes"),
    ],
)
def test_attributes_beyond_an_items_limits_are_refused(
    tmp_path: Path, columns: list[str], value: str, text: str
) -> None:
    path = tmp_path / "shop.csv"
    row = ",".join(["1,p,a.jpg,,M,,,index", *[value] * len(columns)])
    path.write_text(f"{HEADER},{','.join(columns)}\n{row}\n")
    assert text in refused(path).message


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (HEADER.replace(",split", ""), "missing column split"),
        (HEADER + ",colour,colour", "the column colour appears more than once"),
        (HEADER + ",", "column 9 has no name"),
        ("", "there is no header"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path: Path, header: str, text: str) -> None:
    error = refused(write(tmp_path, header=header))
    assert text in error.message
    assert error.message.startswith("shop.csv, line 1: ")
    assert error.reason is Reason.CATALOG_INVALID


def test_missing_empty_and_undecodable_files_are_refused(tmp_path: Path) -> None:
    assert "cannot read the catalogue none.csv" in refused(tmp_path / "none.csv").message
    assert str(tmp_path) not in refused(tmp_path / "none.csv").message
    assert "has no rows" in refused(write(tmp_path)).message
    path = tmp_path / "latin.csv"
    path.write_bytes(f"{HEADER}\n1,p,a.jpg,".encode() + "Café".encode("latin-1") + b",M,,,\n")
    assert refused(path).message.startswith("latin.csv, line 2: not UTF-8")


def test_missing_images_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "0,p,a.jpg,,M,,,", *(f"{n},p,gone{n}.jpg,,M,,," for n in range(1, 6)))
    error = refused(path)
    assert "line 3: 5 of 6 image files are missing: gone1.jpg, gone2.jpg, gone3.jpg, ..." in error.message
    assert len(read_catalog(path, check_images=False).items) == 6


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12).map(str.strip)
NAME = TEXT.filter(bool)


@settings(deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            NAME,
            TEXT,
            st.lists(NAME, max_size=3),
            st.dictionaries(st.sampled_from(["colour", "size"]), NAME),
            st.sets(st.sampled_from(SPLITS)),
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda row: row[0],
    )
)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple]) -> None:
    folder = tmp_path_factory.mktemp("catalog")
    items = [
        CatalogItem(
            name, "p", folder / "images" / f"{n}.jpg", title, tuple(levels), attributes, frozenset(splits)
        )
        for n, (name, title, levels, attributes, splits) in enumerate(rows)
    ]
    write_catalog(folder / "shop.csv", items)
    assert read_catalog(folder / "shop.csv", check_images=False).items == tuple(items)
    with (folder / "shop.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file))[: len(COLUMNS)] == list(COLUMNS)


def test_what_is_not_unicode_cannot_be_written(tmp_path: Path) -> None:
    for item in (
        CatalogItem("a", "p", tmp_path / "caf\udce9.jpg"),
        CatalogItem("a", "p", tmp_path / "a.jpg", title="caf\udce9"),
    ):
        with pytest.raises(InvalidInputError, match=r"item 'a': .*caf.udce9.* is not Unicode text"):
            write_catalog(tmp_path / "shop.csv", [item])


@pytest.mark.parametrize("name", ["categories", "splits"])
def test_a_single_text_is_not_taken_for_its_letters(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{name} must be a sequence of texts, not one str"):
        CatalogItem("a", "p", Path("a.jpg"), **{name: "train"})


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("grocery/catalog.csv", {"train": 2640, "query": 296, "index": 81}),
        ("grocery/catalog_photo2photo.csv", {"index": 2640, "query": 296}),
        ("fashion/catalog.csv", {"train": 7686, "val": 1181}),
    ],
)
def test_real_catalogues_read_whole(shared_data: Path, file: str, counts: dict[str, int]) -> None:
    catalog = read_catalog(shared_data / file)
    assert {split: len(catalog.rows(split)) for split in counts} == counts
    assert len(catalog.items) == sum(counts.values())
