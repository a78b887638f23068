"""The synchronous client is what the one for asyncio gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import unasync


def test_the_synchronous_client_is_current() -> None:
    assert unasync.synchronous(unasync.SOURCE.read_text()) == unasync.TARGET.read_text(), (
        "run `make client` and commit the result"
    )


def test_the_check_finds_a_client_that_is_out_of_date(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(unasync, "ROOT", tmp_path)
    monkeypatch.setattr(unasync, "TARGET", tmp_path / "sync.py")
    assert unasync.main([]) == 0
    assert unasync.main(["--check"]) == 0
    written = unasync.TARGET.read_text()
    unasync.TARGET.write_text(written.replace("page by page", "at once"))
    assert unasync.main(["--check"]) == 1
    assert capsys.readouterr().err == "error: sync.py is out of date; run `make client`\n"


def test_what_has_no_synchronous_form_is_refused() -> None:
    with pytest.raises(ValueError, match="asyncio is left in the synchronous client"):
        unasync.synchronous("import asyncio\n")
