"""The ``python -m SERVICE`` entry: settings from flags, environment and file, then serve."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic.fields import FieldInfo

from lookalike.errors import LookalikeError
from lookalike.runtime.logs import configure_logging
from lookalike.runtime.settings import ServerSettings, load_settings

_Settings = TypeVar("_Settings", bound=ServerSettings)


def serve_main(
    name: str,
    settings_class: type[_Settings],
    run: Callable[[_Settings], Coroutine[None, None, None]],
    arguments: Sequence[str] | None = None,
) -> int:
    """Runs one service; every setting is a flag.

    Args:
        name: The service, as in ``lookalike serve NAME``, ``python -m NAME`` and the settings file's section.
        settings_class: Its settings.
        run: Serves until SIGTERM or SIGINT.
        arguments: The command line; ``None`` takes the process's own.

    Returns:
        The exit code: 0 after a graceful stop, 2 for what the operator must set right (one line on
        stderr says what).
    """
    parser = argparse.ArgumentParser(prog=f"lookalike serve {name}", description=settings_class.__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"TOML file with a section [{name}]")
    for field, info in settings_class.model_fields.items():
        alone: dict[str, Any] = {"nargs": "?", "const": "true"} if info.annotation is bool else {}
        parser.add_argument(f"--{field.replace('_', '-')}", metavar="VALUE", help=_explained(info), **alone)
    flags = vars(parser.parse_args(arguments))
    try:
        settings = load_settings(settings_class, flags.pop("config"), **flags)
        lines = configure_logging(name, settings.log_level, settings.log_format)
        try:
            asyncio.run(run(settings))
        finally:
            lines.flush()
    except LookalikeError as error:
        print(f"{name}: {error.message}", file=sys.stderr)
        return 2
    return 0


def _explained(setting: FieldInfo) -> str:
    """Returns what a setting does and what it is where it is not given, as argparse takes it."""
    words = (setting.description or "").replace("``", "").replace("%", "%%")
    if setting.is_required():
        return f"{words} Required."
    if setting.default is None or "by default" in words:
        return words
    value = setting.default
    return f"{words} Default: {','.join(value) if isinstance(value, tuple) else value}."
