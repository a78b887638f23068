"""Typed, frozen settings: flags over environment over file over defaults.

A setting ``port`` of the gateway is ``--port``, ``LOOKALIKE_GATEWAY_PORT`` or, in the TOML file named by
``--config``, ``port`` in the section ``[gateway]``. Unknown names and bad values are refused at start.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from lookalike.addresses import METRICS_PORT_OFFSET
from lookalike.errors import InvalidInputError, Reason
from lookalike.limits import MAX_MESSAGE_BYTES

_MAX_PORT = 65535

Port = Annotated[int, Field(ge=0, le=_MAX_PORT)]
"""A port to bind; services that set another default keep the bounds by this type."""


def settings_config(service: str) -> SettingsConfigDict:
    """Returns the pydantic configuration of one service's settings."""
    return SettingsConfigDict(
        env_prefix=f"LOOKALIKE_{service.upper()}_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )


class ServerSettings(BaseSettings):
    """What every server has; services add their own fields and ``model_config = settings_config(NAME)``."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to bind; ``0.0.0.0`` serves the network."""
    port: Port = 0
    """gRPC port; 0 takes a free one."""
    metrics_port: int = Field(default=0, ge=-1, le=_MAX_PORT)
    """Port of ``/metrics``; 0 takes a free one, -1 serves none; by default ``port`` + 2000."""
    ready_file: Path | None = None
    """Written once serving: JSON with ``port``, ``metrics_port`` and ``pid``."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged: this and worse; ``debug``, ``info``, ``warning`` or ``error``."""
    log_format: Literal["json", "console"] = "json"
    """``json`` for machines, ``console`` for people."""
    drain_wait_seconds: float = Field(default=1.0, ge=0)
    """From NOT_SERVING to refusing new calls: the time that load balancers get to notice."""
    stop_grace_seconds: float = Field(default=10.0, ge=0)
    """Time that running calls get to finish."""
    max_message_bytes: int = Field(default=MAX_MESSAGE_BYTES, ge=1024)
    """Limit of one message in either direction."""
    max_concurrent_rpcs: int = Field(default=256, ge=1)
    """Calls beyond it are refused with RESOURCE_EXHAUSTED."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Reads flags and the environment; :func:`load_settings` puts the file below them."""
        return init_settings, env_settings

    @model_validator(mode="before")
    @classmethod
    def _derive_metrics_port(cls, values: dict[str, Any]) -> dict[str, Any]:
        try:
            port = int(values.get("port", cls.model_fields["port"].default))
        except (TypeError, ValueError):
            return values  # the field's own check names what is wrong
        derived = port + METRICS_PORT_OFFSET
        return {"metrics_port": derived if port and derived <= _MAX_PORT else 0, **values}


_Settings = TypeVar("_Settings", bound=ServerSettings)


def load_settings(cls: type[_Settings], config_file: Path | None = None, **flags: Any) -> _Settings:
    """Reads the settings of one service.

    Args:
        cls: The settings class.
        config_file: TOML file with a section for each service; other services' sections are ignored.
        flags: Values from the command line; ``None`` means not given.

    Raises:
        InvalidInputError: The file is missing or no TOML, a name is unknown or a value is bad
            (``CONFIG_INVALID``).
    """
    prefix = str(cls.model_config["env_prefix"])
    values = _file_section(config_file, prefix) if config_file else {}
    for name in cls.model_fields:
        if f"{prefix}{name}".upper() in os.environ:
            values.pop(name, None)
    values.update({name: value for name, value in flags.items() if value is not None})
    try:
        return cls(**values)
    except ValidationError as error:
        problems = "; ".join(
            ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem["msg"])))
            for problem in error.errors()
        )
        raise InvalidInputError(f"bad settings: {problems}", reason=Reason.CONFIG_INVALID) from None


def _file_section(config_file: Path, prefix: str) -> dict[str, Any]:
    section = prefix.removeprefix("LOOKALIKE_").rstrip("_").lower()
    try:
        document = tomllib.loads(config_file.read_text())
    except OSError as error:
        raise InvalidInputError(
            f"cannot read the settings file {config_file}: {error.strerror}", reason=Reason.CONFIG_INVALID
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"the settings file {config_file} is no valid TOML: {error}", reason=Reason.CONFIG_INVALID
        ) from None
    values = document.get(section, {})
    if not isinstance(values, dict):
        raise InvalidInputError(
            f"[{section}] in {config_file} must be a section", reason=Reason.CONFIG_INVALID
        )
    return dict(values)
