"""The ``python -m SERVICE`` entry: settings from flags, environment and file, then serve."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic.fields import FieldInfo

from lookalike.errors import InvalidInputError, LookalikeError, Reason, shown
from lookalike.runtime.logs import configure_logging
from lookalike.runtime.settings import ServerSettings, load_settings

_Settings = TypeVar("_Settings", bound=ServerSettings)


def serve_main(
    name: str,
    settings_class: type[_Settings],
    run: Callable[[_Settings], Coroutine[None, None, None]],
    arguments: Sequence[str] | None = None,
    failure_file: Path | None = None,
) -> int:
    """Runs one service; every setting is a flag.

    Args:
        name: The service, as in ``lookalike serve NAME``, ``python -m NAME`` and the settings file's section.
        settings_class: Its settings.
        run: Serves until SIGTERM or SIGINT.
        arguments: The command line; ``None`` takes the process's own.
        failure_file: Gets what went wrong as JSON, with ``message`` and ``reason``.

    Returns:
        The exit code: 0 after a graceful stop, 2 for what the operator must set right (one line on
        stderr says what).
    """
    try:
        settings = read_settings(name, settings_class, arguments)
        lines = configure_logging(name, settings.log_level, settings.log_format)
        try:
            asyncio.run(run(settings))
        finally:
            lines.flush()
    except LookalikeError as error:
        print(f"error: {error.message} ({error.reason.value})", file=sys.stderr)
        if failure_file:
            failure_file.write_text(json.dumps({"message": error.message, "reason": error.reason}))
        return 2
    return 0


def read_settings(
    name: str, settings_class: type[_Settings], arguments: Sequence[str] | None = None
) -> _Settings:
    """Reads the settings of a service from its command line, the environment and the settings file.

    Raises:
        InvalidInputError: A flag or a name is unknown, or a value is bad (``CONFIG_INVALID``).
    """
    parser = _Parser(prog=f"lookalike serve {name}", description=settings_class.__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"TOML file with a section [{name}]")
    # Not pydantic-settings' CliSettingsSource: this help and flags without a value need its private hooks.
    for field, info in settings_class.model_fields.items():
        alone: dict[str, Any] = {"nargs": "?", "const": "true"} if info.annotation is bool else {}
        parser.add_argument(f"--{field.replace('_', '-')}", metavar="VALUE", help=_explained(info), **alone)
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"there is no setting {shown(unknown[0])}")
    flags = vars(known)
    return load_settings(settings_class, flags.pop("config"), **flags)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with a flag in one line, as with every other setting."""

    def error(self, message: str) -> NoReturn:
        raise InvalidInputError(
            f"{message}; `{self.prog} --help` lists the settings", reason=Reason.CONFIG_INVALID
        )


def _explained(setting: FieldInfo) -> str:
    """Returns what a setting does and what it is where it is not given, as argparse takes it."""
    words = (setting.description or "").replace("``", "").replace("%", "%%")
    if setting.is_required():
        return f"{words} Required."
    if setting.default is None or "by default" in words:
        return words
    value = setting.default
    return f"{words} Default: {','.join(value) if isinstance(value, tuple) else value}."
