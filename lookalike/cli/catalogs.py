"""Options that say which catalogue a command reads, in which format, and which products are held out."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lookalike.catalogue.catalog import Catalog, read_catalog, split_by_product
from lookalike.catalogue.eproduct import read_eproduct
from lookalike.errors import InvalidInputError, Reason, shown


class CatalogFormat(StrEnum):
    """How a catalogue is written."""

    CSV = "csv"
    EPRODUCT = "eproduct"


Format = Annotated[
    CatalogFormat,
    typer.Option(
        "--format", help="csv: one file as the README describes; eproduct: a folder in eProduct's layout."
    ),
]
SplitByProduct = Annotated[
    str | None,
    typer.Option(
        "--split-by-product",
        metavar="FOLD/FOLDS",
        help="Hold one fold of the products out of training and search for these alone, such as 0/5.",
    ),
]


def open_catalog(
    path: Path,
    catalog_format: CatalogFormat = CatalogFormat.CSV,
    held_out: str | None = None,
    *,
    check_images: bool = True,
) -> Catalog:
    """Reads a catalogue as the options say.

    Args:
        path: The CSV file, or the folder of an eProduct catalogue.
        catalog_format: Which of the two it is.
        held_out: ``FOLD/FOLDS`` for :func:`.split_by_product`; None leaves the splits.
        check_images: Also require that every photo is there.

    Raises:
        InvalidInputError: The catalogue is wrong, or ``held_out`` is not of that form.
    """
    read = read_eproduct if catalog_format is CatalogFormat.EPRODUCT else read_catalog
    catalog = read(path, check_images=check_images)
    if held_out is None:
        return catalog
    numbers = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", held_out)
    if not numbers:
        raise InvalidInputError(
            f"--split-by-product must be a fold and the number of folds, such as 0/5, not {shown(held_out)}",
            reason=Reason.FIELD_INVALID,
            field="split_by_product",
        )
    fold, folds = map(int, numbers.groups())
    return split_by_product(catalog, fold, folds)
