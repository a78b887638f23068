"""Rows of a catalogue's CSV file, and errors that name the file and the line."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

from lookalike.errors import InvalidInputError, Reason, shown

_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_MAGIC: Final = {
    b"\x1f\x8b": "packed by gzip",
    b"BZh91AY&SY": "packed by bzip2",
    b"\xfd7zXZ": "packed by xz",
    b"\x28\xb5\x2f\xfd": "packed by Zstandard",
    b"PK\x03\x04": "a ZIP file or a spreadsheet",
    b"PAR1\x15": "a Parquet file",
    b"\xff\xd8\xff": "a JPEG photo",
    b"\x89PNG": "a PNG photo",
}
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")
"""Characters that no text has."""
_NO_TEXT: Final = "the file is not a text file; the catalogue must be plain UTF-8 CSV"
_WIDE: Final = "the file is in UTF-16, not UTF-8; save the catalogue as UTF-8 CSV"


class CatalogRows:
    """A UTF-8 CSV file with a header: with or without a byte-order mark, any of the usual line ends.

    Attributes:
        path: The file.
        line: Number of the line that the current row ends on.

    Args:
        path: The file.
        columns: Columns that it must have, in any order.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.line = 1
        self._columns = columns

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Yields each row's cells, without surrounding spaces, by column name; empty rows are passed over.

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
        """Returns an error about the current row, or about the line that is given."""
        return InvalidInputError(
            f"{self.path.name}, line {line or self.line}: {text}", reason=reason, field=column
        )

    def _rows(self, file: BinaryIO) -> Iterator[dict[str, str]]:
        lines = self._text_lines(file)
        first = next(lines, "")
        self._check_separator(first)
        reader = csv.reader(chain([first], lines), strict=True)
        try:
            header = self._checked_header(next(reader, []))
            for cells in reader:
                self.line = reader.line_num
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise self.problem(f"{len(cells)} cells where the header has {len(header)} columns")
                yield dict(zip(header, (cell.strip() for cell in cells), strict=True))
        except csv.Error as error:
            raise self.problem(f"not a well-formed CSV row: {error}", line=reader.line_num) from None

    def _text_lines(self, file: BinaryIO) -> Iterator[str]:
        """Decodes line by line, so that a bad byte is reported with its own line number."""
        # Of bytes, splitlines() takes CR, LF and CRLF, and nothing else, as the end of a line.
        lines = (line for part in file for line in part.splitlines(keepends=True))
        for number, raw in enumerate(lines, start=1):
            if number == 1:
                self._check_start(raw)
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise self.problem(_encoding_problem(raw, error.start), line=number) from None
            yield line

    def _check_start(self, start: bytes) -> None:
        """Names what the file is if its first line shows that it is not text in UTF-8."""
        for magic, kind in _MAGIC.items():
            if start.startswith(magic):
                raise self.problem(f"the file is {kind}, not text; the catalogue must be plain UTF-8 CSV")
        if _is_utf16(start):
            raise self.problem(_WIDE)
        if _CONTROL.search(start):
            raise self.problem(_NO_TEXT)

    def _check_separator(self, header: str) -> None:
        """Names what separates the columns if it is not commas."""

        def known(separator: str) -> int:
            return len({cell.strip('\r\n "') for cell in header.split(separator)}.intersection(self._columns))

        for separator, name in _SEPARATORS.items():
            if known(separator) > known(","):
                raise self.problem(f"the columns are separated by {name}; save the catalogue with commas")

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


def _is_utf16(start: bytes) -> bool:
    """Whether a file's first line is in UTF-16: marked as such, or with zeros in every other place alone."""
    marked = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return marked or sum(b"\0" in half and not half.strip(b"\0") for half in (start[::2], start[1::2])) == 1


def _encoding_problem(raw: bytes, position: int) -> str:
    """Names the encoding of a line that is not UTF-8, as far as it shows."""
    if _CONTROL.search(raw):
        return _NO_TEXT
    around = raw[max(0, position - 10) : position + 10].decode("latin-1")
    return (
        f"not UTF-8 text, but perhaps Windows-1252 or Latin-1 (byte 0x{raw[position]:02x} in"
        f" {shown(around.strip())}); save the catalogue as UTF-8 CSV"
    )
