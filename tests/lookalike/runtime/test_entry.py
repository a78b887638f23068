"""The entry that all services share: what its help says of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from embedder.config import EmbedderSettings
from gateway.config import GatewaySettings
from hasher.config import HasherSettings
from lookalike.runtime.entry import serve_main
from lookalike.runtime.settings import ServerSettings


async def serve(settings: ServerSettings) -> None:
    raise AssertionError("--help serves nothing")


@pytest.mark.parametrize("settings", [EmbedderSettings, HasherSettings, GatewaySettings])
def test_help_explains_every_setting(
    settings: type[ServerSettings], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        serve_main("probe", settings, serve, ["--help"])
    assert ended.value.code == 0
    printed = " ".join(capsys.readouterr().out.partition("options:")[2].split())
    explained = dict(re.findall(r"--([a-z-]+) \[?VALUE\]? (.*?)(?= --[a-z-]+ \[?VALUE|$)", printed))
    assert {name.replace("-", "_") for name in explained} == settings.model_fields.keys()
    for name, setting in settings.model_fields.items():
        words = explained[name.replace("_", "-")]
        assert len(words) > len(ending(setting)) + 10
        assert words.endswith(ending(setting))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--prot", "1"],
            "there is no setting '--prot'; `lookalike serve gateway --help` lists the settings",
        ),
        (["--port"], "argument --port: expected one argument; `lookalike serve gateway --help` lists"),
        (["--data-folder", "x", "--hashers", "a"], "bad settings: hashers: 'a' must be host:port"),
        ([], "bad settings: data_folder: Field required"),
    ],
)
def test_a_bad_setting_is_one_line_with_its_reason(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert serve_main("gateway", GatewaySettings, serve, arguments, tmp_path / "failure.json") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"error: {said}")
    assert line.endswith(" (CONFIG_INVALID)")
    failure = json.loads((tmp_path / "failure.json").read_text())
    assert line == f"error: {failure['message']} ({failure['reason']})"


def ending(setting: FieldInfo) -> str:
    if setting.is_required():
        return " Required."
    if setting.default is None or "by default" in (setting.description or ""):
        return "."
    default = ",".join(setting.default) if isinstance(setting.default, tuple) else setting.default
    return f" Default: {default}."
