"""The entry that all services share: what its help says of them."""

from __future__ import annotations

import re

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
    told = " ".join(capsys.readouterr().out.partition("options:")[2].split())
    explained = dict(re.findall(r"--([a-z-]+) \[?VALUE\]? (.*?)(?= --[a-z-]+ \[?VALUE|$)", told))
    assert {name.replace("-", "_") for name in explained} == settings.model_fields.keys()
    for name, setting in settings.model_fields.items():
        words = explained[name.replace("_", "-")]
        assert len(words) > len(ending(setting)) + 10
        assert words.endswith(ending(setting))


def ending(setting: FieldInfo) -> str:
    if setting.is_required():
        return " Required."
    if setting.default is None or "by default" in (setting.description or ""):
        return "."
    default = ",".join(setting.default) if isinstance(setting.default, tuple) else setting.default
    return f" Default: {default}."
