"""Which shard of which installation a data folder holds: nothing is answered that was meant for another."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from lookalike.errors import DataLossError, FailedPreconditionError, InvalidInputError, Reason
from lookalike.files.disk import replace_file
from lookalike.files.open_files import open_files_error

IDENTITY_FILE = "identity.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a shard is, and what a request takes it for.

    ``installation_id`` is empty until a first generation is created on the shard.
    """

    installation_id: str
    shard: int
    shard_count: int
    layout_epoch: int = 1

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Returns the identity of a data folder; None: it has none yet.

        Raises:
            DataLossError: It is damaged.
            InvalidInputError: It cannot be read (``CONFIG_INVALID``).
            UnavailableError: No file can be opened any more (``OPEN_FILES_LIMIT``).
        """
        try:
            values = json.loads((folder / IDENTITY_FILE).read_bytes())
            return cls(
                str(values["installation_id"]),
                int(values["shard"]),
                int(values["shard_count"]),
                int(values["layout_epoch"]),
            )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise open_files_error(error) or InvalidInputError(
                f"cannot read {IDENTITY_FILE} in the data folder: {error.strerror}",
                reason=Reason.CONFIG_INVALID,
            ) from None
        except (KeyError, TypeError, ValueError) as error:
            raise DataLossError(
                f"{IDENTITY_FILE} in the data folder is damaged ({error}): restore it from a copy"
            ) from error

    def write(self, folder: Path) -> None:
        """Makes it the identity of a data folder, durably.

        Raises:
            OSError: The file cannot be written.
        """
        replace_file(folder / IDENTITY_FILE, json.dumps(asdict(self)).encode())

    def joined(self, installation_id: str) -> Self:
        """Returns the same shard of an installation."""
        return replace(self, installation_id=installation_id)

    def check(self, meant: Identity) -> None:
        """Checks that a request is meant for this shard.

        Raises:
            FailedPreconditionError: It is meant for another shard or layout (``SHARD_LAYOUT_MISMATCH``), or
                comes from another installation (``INSTALLATION_MISMATCH``).
        """
        if self.installation_id and meant.installation_id != self.installation_id:
            raise FailedPreconditionError(
                f"the request comes from installation {meant.installation_id!r}, but this hasher belongs to"
                f" {self.installation_id!r}",
                reason=Reason.INSTALLATION_MISMATCH,
                field="target",
            )
        if meant.layout != self.layout:
            raise FailedPreconditionError(
                f"the request is meant for shard {_words(meant)}, but this is shard {_words(self)}",
                reason=Reason.SHARD_LAYOUT_MISMATCH,
                field="target",
            )

    @property
    def layout(self) -> tuple[int, int, int]:
        """The shard's number, how many there are, and the epoch of that layout."""
        return self.shard, self.shard_count, self.layout_epoch


def _words(identity: Identity) -> str:
    return f"{identity.shard} of {identity.shard_count} in layout epoch {identity.layout_epoch}"
