from __future__ import annotations

import apsw
import pytest

from lookalike.errors import InvalidInputError, Reason
from lookalike.files.sqlite import check_sqlite_version


@pytest.mark.parametrize("version", ["3.51.2", "3.9.12"])
def test_old_sqlite_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    with pytest.raises(InvalidInputError, match=r"3\.51\.3") as caught:
        check_sqlite_version()
    assert caught.value.reason is Reason.CONFIG_INVALID


def test_the_installed_sqlite_is_accepted() -> None:
    check_sqlite_version()
