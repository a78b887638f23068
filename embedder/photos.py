"""Photo files of a catalogue: whatever a row points at must neither hang nor exhaust the process."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lookalike.errors import InvalidInputError, Reason
from lookalike.limits import MAX_IMAGE_BYTES


def read_photo(path: Path) -> bytes:
    """Reads a photo file.

    Raises:
        InvalidInputError: It cannot be read, is not a regular file, or is larger than any photo may be.
            The message does not name it.
    """
    try:
        # Before it is opened: opening a pipe waits for someone to write.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInputError("the file cannot be read: it is not a regular file")
        if status.st_size > MAX_IMAGE_BYTES:
            raise InvalidInputError(
                f"the file has {status.st_size:,} bytes; at most {MAX_IMAGE_BYTES:,} are accepted",
                reason=Reason.IMAGE_TOO_LARGE,
            )
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"the file cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidInputError(f"the file cannot be read: {error}") from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names a photo in the errors about it, for callers that cannot do without it."""
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error.message}", reason=error.reason) from error
