"""Rows of a catalogue's CSV file, and errors that name the file and the line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from lookalike.errors import InvalidInputError, Reason


class CatalogRows:
    """A UTF-8 CSV file with a header: with or without a byte-order mark, any of the usual line ends.

    Attributes:
        path: The file.
        line: Number of the line that the present row ends on.

    Args:
        path: The file.
        columns: Columns that it must have, in any order.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.line = 1
        self._columns = columns

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Yield each row's cells, without surrounding spaces, by column name; blank lines are passed over.

        Raises:
            InvalidInputError: The file cannot be read or is not such a table (``CATALOG_INVALID``).
        """
        try:
            with self.path.open("rb") as file:
                yield from self._rows(file)
        except OSError as error:
            problem = f"cannot read the catalogue {self.path.name}: {error.strerror or error}"
            raise InvalidInputError(problem, reason=Reason.CATALOG_INVALID) from None

    def problem(
        self, text: str, *, line: int = 0, reason: Reason = Reason.CATALOG_INVALID, column: str = ""
    ) -> InvalidInputError:
        """Return an error about the present row, or about the line that is given."""
        return InvalidInputError(
            f"{self.path.name}, line {line or self.line}: {text}", reason=reason, field=column
        )

    def _rows(self, file: BinaryIO) -> Iterator[dict[str, str]]:
        reader = csv.reader(self._text_lines(file), strict=True)
        try:
            header = self._checked_header(next(reader, []))
            for cells in reader:
                self.line = reader.line_num
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise self.problem(f"{len(cells)} cells where the header has {len(header)} columns")
                yield dict(zip(header, (cell.strip() for cell in cells), strict=True))
        except csv.Error as error:
            raise self.problem(f"not a well-formed CSV row: {error}", line=reader.line_num) from None

    def _text_lines(self, file: BinaryIO) -> Iterator[str]:
        """Decode line by line, so that a bad byte is reported with its own line number."""
        for number, raw in enumerate(file, start=1):
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                text = "not UTF-8 text; save the catalogue as UTF-8 CSV"
                raise self.problem(text, line=number) from None

    def _checked_header(self, cells: list[str]) -> list[str]:
        header = [cell.strip() for cell in cells]
        if not any(header):
            raise self.problem(f"there is no header; it must name the columns {', '.join(self._columns)}")
        if "" in header:
            raise self.problem(f"column {header.index('') + 1} has no name")
        repeated = [name for position, name in enumerate(header) if name in header[:position]]
        if repeated:
            raise self.problem(f"the column {repeated[0]} appears more than once", column=repeated[0])
        missing = [name for name in self._columns if name not in header]
        if missing:
            raise self.problem(f"missing column {', '.join(missing)}", column=missing[0])
        return header
