from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from embedder.config import EmbedderSettings
from gateway.config import GatewaySettings
from hasher.config import HasherSettings
from lookalike.errors import InvalidInputError, Reason
from lookalike.runtime.entry import serve_main
from lookalike.runtime.settings import Port, ServerSettings, load_settings, settings_config


class ProbeSettings(ServerSettings):
    """Settings of a made-up service."""

    model_config = settings_config("probe")
    port: Port = 7999
    depth_seconds: float = 1.0


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "lookalike.toml"
    path.write_text("[probe]\ndepth_seconds = 2.0\nport = 1\n[other]\nanything = 1\n")
    return path


def test_flags_beat_environment_beats_file_beats_defaults(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings(ProbeSettings).depth_seconds == 1.0
    assert load_settings(ProbeSettings, config_file).depth_seconds == 2.0
    monkeypatch.setenv("LOOKALIKE_PROBE_DEPTH_SECONDS", "3")
    assert load_settings(ProbeSettings, config_file).depth_seconds == 3.0
    settings = load_settings(ProbeSettings, config_file, depth_seconds=4.0, port=None)
    assert (settings.depth_seconds, settings.port) == (4.0, 1)


def test_metrics_port_follows_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ProbeSettings().metrics_port == 9999
    assert ProbeSettings(port=8000).metrics_port == 10000
    assert ProbeSettings(port=0).metrics_port == 0
    assert ProbeSettings(port=65000).metrics_port == 0
    assert ProbeSettings(metrics_port=-1).metrics_port == -1
    monkeypatch.setenv("LOOKALIKE_PROBE_PORT", "8001")
    assert ProbeSettings().metrics_port == 10001
    monkeypatch.setenv("LOOKALIKE_PROBE_METRICS_PORT", "5")
    assert ProbeSettings().metrics_port == 5


def test_a_flag_without_a_value_is_a_yes() -> None:
    async def serve(settings: EmbedderSettings) -> None:
        taken.append(settings.triton_shared_memory)

    taken: list[bool] = []
    for flag in (["--triton-shared-memory"], ["--triton-shared-memory", "false"], []):
        assert serve_main("probe", EmbedderSettings, serve, ["--bundle", "b", *flag]) == 0
    assert taken == [True, False, False]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[probe]\nport = 99999\n", "port"),
        ("[probe]\nport = inf\n", "port"),
        ("[probe]\nunknown = 1\n", "unknown"),
        ("[probe\n", "TOML"),
        ("probe = 1\n", "section"),
    ],
)
def test_bad_file_is_one_clear_error(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=complaint) as caught:
        load_settings(ProbeSettings, path)
    assert caught.value.reason == Reason.CONFIG_INVALID
    assert "\n" not in caught.value.message


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"absent\.toml"):
        load_settings(ProbeSettings, tmp_path / "absent.toml")


SERVICES = (EmbedderSettings, HasherSettings, GatewaySettings)


@pytest.mark.parametrize("settings", SERVICES)
def test_numbers_are_finite_and_bounded(settings: type[ServerSettings], tmp_path: Path) -> None:
    """An endless duration or a size beyond all memory is a mistake, wherever it stands."""
    file = tmp_path / "lookalike.toml"
    numbers = [name for name, field in settings.model_fields.items() if field.annotation in (int, float)]
    for name, value in itertools.product(numbers, ["inf", "-inf", "nan", "1e300", "-2"]):
        file.write_text(f"[{settings.__name__.removesuffix('Settings').lower()}]\n{name} = {value}\n")
        for flags in ({name: value}, {}):
            with pytest.raises(InvalidInputError, match=f"(: |; ){name}: ") as caught:
                load_settings(settings, None if flags else file, **flags)
            assert caught.value.reason == Reason.CONFIG_INVALID
