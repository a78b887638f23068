from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.catalogue.eproduct import ANSWERS, read_eproduct, write_submission
from lookalike.errors import InvalidInputError, Reason

LABELLED = "UUID,IMAGE_PATH,AUCT_TITL,META_CATEG_ID,CATEG_LVL2_ID,LEAF_CATEG_ID"
PLAIN = "UUID,IMAGE_PATH"
UUIDS = st.text("0123456789abcXYZ", min_size=16, max_size=16)


def uuid(number: int) -> str:
    return f"{number:016d}"


def write(folder: Path, **files: list[str]) -> Path:
    (folder / "metadata").mkdir(exist_ok=True)
    for name, lines in files.items():
        (folder / "Images" / name).mkdir(parents=True, exist_ok=True)
        for line in lines[1:]:
            if len(cells := line.split(",")) > 1:
                (folder / "Images" / cells[1]).touch()
        (folder / "metadata" / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_reads_every_file_as_its_split(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        train=[LABELLED, f"{uuid(1)},train/1.jpg,A blue mug,3,17,512", f"{uuid(2)},train/2.jpg,,3,,"],
        val=[LABELLED, f"{uuid(3)},val/3.jpg,A mug,3,17,999"],
        index=[PLAIN, f"{uuid(4)},index/4.jpg"],
        query_part1=[PLAIN, f"{uuid(5)},query_part1/5.jpg"],
        query_part2=[PLAIN, f"{uuid(6)},query_part2/6.jpg"],
    )
    catalog = read_eproduct(folder)
    assert [(item.item_id, *item.splits) for item in catalog.items] == [
        (uuid(1), "train"),
        (uuid(2), "train"),
        (uuid(3), "val"),
        (uuid(4), "index"),
        (uuid(5), "query"),
        (uuid(6), "query"),
    ]
    first, ragged, *_, last = catalog.items
    assert (first.title, first.categories) == ("A blue mug", ("3", "17", "512"))
    assert ragged.categories == ("3",)
    assert first.image_path == tmp_path / "Images" / "train" / "1.jpg"
    assert (last.title, last.categories, last.attributes) == ("", (), {})
    assert len({item.product_id for item in catalog.items}) == 6
    assert catalog.root == folder


def test_equal_ids_under_different_parents_are_different_categories(tmp_path: Path) -> None:
    rows = [f"{uuid(1)},train/1.jpg,,1,5,7", f"{uuid(2)},train/2.jpg,,2,5,7"]
    first, second = read_eproduct(write(tmp_path, train=[LABELLED, *rows])).items
    assert first.categories != second.categories
    assert first.categories[1:] == second.categories[1:]


def test_products_may_be_named_and_other_columns_become_attributes(tmp_path: Path) -> None:
    header = f"{PLAIN},PRODUCT_ID,colour"
    rows = [f"{uuid(1)},index/1.jpg,p7,blue", f"{uuid(2)},index/2.jpg,,"]
    first, second = read_eproduct(write(tmp_path, index=[header, *rows])).items
    assert (first.product_id, first.attributes) == ("p7", {"colour": "blue"})
    assert second.product_id == uuid(2)


@pytest.mark.parametrize(
    ("row", "text", "reason"),
    [
        ("short,train/2.jpg,,1,2,3", "the UUID 'short' is not 16 letters or digits", Reason.CATALOG_INVALID),
        ("0123456789abcde-,train/2.jpg,,1,2,3", "is not 16 letters or digits", Reason.CATALOG_INVALID),
        ("٠١٢٣٤٥٦٧٨٩٠١٢٣٤٥,train/2.jpg,,1,2,3", "is not 16 letters or digits", Reason.CATALOG_INVALID),
        (f"{uuid(2)},,,1,2,3", "the IMAGE_PATH is empty", Reason.CATALOG_INVALID),
        (f"{uuid(2)},train/2.jpg,,1,,3", "CATEG_LVL2_ID is empty above LEAF_CATEG", Reason.CATEGORY_INVALID),
        (f"{uuid(1)},train/2.jpg,,1,2,3", "already in train.csv, line 2", Reason.CATALOG_INVALID),
        (f"{uuid(2)},train/2.jpg,,1,2", "5 cells where the header has 6 columns", Reason.CATALOG_INVALID),
        (f"{uuid(2)},train/2.jpg,{'x' * 1025},1,2,3", "AUCT_TITL|title has 1025", Reason.CATALOG_INVALID),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(tmp_path: Path, row: str, text: str, reason: Reason) -> None:
    folder = write(tmp_path, train=[LABELLED, f"{uuid(1)},train/1.jpg,,1,2,3", row])
    with pytest.raises(InvalidInputError, match=text) as caught:
        read_eproduct(folder)
    assert caught.value.message.startswith("train.csv, line 3: ")
    assert caught.value.reason is reason


def test_a_uuid_in_two_files_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, index=[PLAIN, f"{uuid(1)},index/1.jpg"], query=[PLAIN, f"{uuid(1)},query/1.jpg"])
    with pytest.raises(InvalidInputError, match=r"query\.csv, line 2: .* already in index\.csv, line 2"):
        read_eproduct(folder)


def test_labels_are_required_where_eproduct_has_them(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="missing column AUCT_TITL, META_CATEG_ID"):
        read_eproduct(write(tmp_path, train=[PLAIN, f"{uuid(1)},train/1.jpg"]))


def test_other_folders_and_missing_photos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"there is no metadata/train\.csv"):
        read_eproduct(tmp_path)
    folder = write(tmp_path, index=[PLAIN, f"{uuid(1)},index/1.jpg"])
    (folder / "Images" / "index" / "1.jpg").unlink()
    with pytest.raises(InvalidInputError, match=r"index\.csv, line 2: 1 of 1 image files are missing"):
        read_eproduct(folder)
    assert len(read_eproduct(folder, check_images=False).items) == 1
    with pytest.raises(InvalidInputError, match="have no rows"):
        read_eproduct(write(tmp_path, index=[PLAIN]))


@given(st.lists(UUIDS, min_size=2, max_size=4, unique=True), st.lists(UUIDS, min_size=12, unique=True))
def test_a_submission_has_ten_ids_a_line_and_no_header(
    tmp_path_factory: pytest.TempPathFactory, queries: list[str], ranked: list[str]
) -> None:
    file = tmp_path_factory.mktemp("submission") / "submission.csv"
    write_submission(file, [(query, ranked) for query in queries])
    lines = file.read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == queries
    assert all(line.split(",")[1].split(" ") == ranked[:ANSWERS] for line in lines)


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([(uuid(1), [uuid(n) for n in range(9)])], "must have 10 different results, not 9"),
        ([(uuid(1), [uuid(n % 9) for n in range(10)])], "must have 10 different results, not 9"),
        ([("q", [uuid(n) for n in range(10)])], "'q' is not a UUID"),
        ([(uuid(1), ["x", *map(uuid, range(9))])], "'x' is not a UUID"),
        ([(uuid(1), [uuid(n) for n in range(10)])] * 2, "comes twice"),
    ],
)
def test_what_the_challenge_would_refuse_is_not_written(
    tmp_path: Path, answers: list[tuple[str, list[str]]], text: str
) -> None:
    with pytest.raises(InvalidInputError, match=text):
        write_submission(tmp_path / "submission.csv", answers)
    assert not (tmp_path / "submission.csv").exists()
