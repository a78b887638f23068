"""The folder that a demo writes to: made by a demo, used by one at a time, cleared at the start."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from lookalike.errors import FailedPreconditionError, InvalidInputError, Reason

_MARKER = ".lookalike-demo.json"


class DemoFolder:
    """Paths of everything a demo writes; a context manager that holds the folder's lock.

    Args:
        root: The folder; made if missing.

    Raises:
        InvalidInputError: It holds files that no demo wrote.
        FailedPreconditionError: Another demo uses it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.simulated = root / "catalog"
        self.bundle = root / "bundle"
        self.backbone = root / "backbone"
        self.cache = root / "cache"
        self.data = root / "data"
        self.logs = root / "logs"
        self.report = root / "report.json"
        self.sheet = root / "contact-sheet.png"
        self.page = root / "report.html"
        self._marker = root / _MARKER
        if root.exists() and not root.is_dir():
            raise InvalidInputError(f"{root} is not a folder", reason=Reason.CONFIG_INVALID)
        if root.is_dir() and any(root.iterdir()) and not self._marker.exists():
            raise InvalidInputError(
                f"the folder {root} has other files in it; give --out another folder",
                reason=Reason.CONFIG_INVALID,
            )
        root.mkdir(parents=True, exist_ok=True)
        self._lock = self._locked()
        for folder in (self.data, self.logs):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        for file in (self.report, self.sheet, self.page):
            file.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def has_simulated(self, parameters: dict[str, Any]) -> bool:
        """Whether a finished simulation with these parameters lies here."""
        try:
            return bool(json.loads(self._marker.read_text()) == parameters)
        except ValueError:
            return False

    def remember_simulated(self, parameters: dict[str, Any]) -> None:
        """Notes that the simulation is finished."""
        self._marker.write_text(json.dumps(parameters))

    def _locked(self) -> IO[str]:
        file = self._marker.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise FailedPreconditionError(
                f"another demo is running in {self.root}; stop it or give --out another folder",
                reason=Reason.CONFIG_INVALID,
            ) from None
        return file
