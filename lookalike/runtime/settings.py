"""Typed, frozen settings: flags over environment over file over defaults.

A setting ``port`` of the gateway is ``--port``, ``LOOKALIKE_GATEWAY_PORT`` or, in the TOML file named by
``--config``, ``port`` in the section ``[gateway]``. Unknown names and bad values are refused at start.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from lookalike.addresses import METRICS_PORT_OFFSET
from lookalike.errors import InvalidInputError, Reason
from lookalike.limits import MAX_MESSAGE_BYTES, MIB
from lookalike.wire.channel import FAR_PING_SECONDS

MAX_PORT = 65535
_MAX_COUNT = 1_000_000
_MAX_SECONDS = 86_400.0
_MAX_BYTES = 1 << 40
_MAX_MESSAGE_BYTES = (1 << 31) - 1
"""gRPC holds the size of a message in 32 bits."""

Port = Annotated[int, Field(ge=0, le=MAX_PORT)]
"""A port to bind; services that set another default keep the bounds by this type."""
Seconds = Annotated[float, Field(ge=0, le=_MAX_SECONDS, allow_inf_nan=False)]
"""A duration of at most a day."""
PositiveSeconds = Annotated[float, Field(gt=0, le=_MAX_SECONDS, allow_inf_nan=False)]
"""A duration that cannot be 0."""
Count = Annotated[int, Field(ge=0, le=_MAX_COUNT)]
"""A number of things."""
PositiveCount = Annotated[int, Field(ge=1, le=_MAX_COUNT)]
"""A number of things of which there must be one."""


def settings_config(service: str) -> SettingsConfigDict:
    """Returns the pydantic configuration of one service's settings."""
    return SettingsConfigDict(
        env_prefix=f"LOOKALIKE_{service.upper()}_",
        title=service,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )


class ServerSettings(BaseSettings):
    """What every server has; services add their own fields and ``model_config = settings_config(NAME)``."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Name or address to bind, IPv6 with or without brackets; one that other machines reach needs
    ``insecure``."""
    port: Port = 0
    """gRPC port; 0 takes a free one."""
    metrics_port: int = Field(default=0, ge=-1, le=MAX_PORT)
    """Port of ``/metrics``; 0 takes a free one, -1 serves none; by default ``port`` + 2000."""
    metrics_host: str | None = None
    """Name or address of ``/metrics``; by default ``host``."""
    insecure: bool = False
    """Serve other machines, too, unencrypted and whoever calls: only in a network that is trusted."""
    trace_endpoint: str = ""
    """Where spans are sent by OTLP over gRPC, such as ``http://127.0.0.1:4317``; by default nowhere."""
    trace_sample_ratio: float = Field(default=0.1, ge=0, le=1, allow_inf_nan=False)
    """Share of the calls that are traced; callers that send a ``traceparent`` have decided for theirs."""
    ready_file: Path | None = None
    """Written once serving: JSON with ``port``, ``metrics_port``, ``pid``, and a hasher's ``search_port``."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged: this and worse; ``debug``, ``info``, ``warning`` or ``error``."""
    log_format: Literal["json", "console"] = "json"
    """``json`` for machines, ``console`` for people."""
    drain_wait_seconds: Seconds = 1.0
    """From NOT_SERVING to refusing new calls: the time that load balancers get to notice."""
    stop_grace_seconds: Seconds = 10.0
    """Time that running calls get to finish."""
    max_message_bytes: int = Field(default=MAX_MESSAGE_BYTES, ge=1024, le=_MAX_MESSAGE_BYTES)
    """Limit of one message in either direction."""
    max_concurrent_rpcs: PositiveCount = 256
    """Calls beyond it are refused with RESOURCE_EXHAUSTED; streams are counted apart."""
    max_concurrent_streams: PositiveCount = 32
    """Streams, such as bulk loads, beyond it are refused with RESOURCE_EXHAUSTED."""
    max_request_bytes_in_flight: int = Field(default=256 * MIB, ge=1024, le=_MAX_BYTES)
    """Size of the requests being received and answered, streams apart; more are refused with
    RESOURCE_EXHAUSTED. A request takes about three times its size in memory."""
    stream_idle_seconds: PositiveSeconds = 300.0
    """A stream on which neither side has sent anything for so long is ended."""
    keepalive_seconds: PositiveSeconds = 30.0
    """Time after which a silent peer is asked whether it is still there."""
    keepalive_timeout_seconds: PositiveSeconds = FAR_PING_SECONDS
    """Time that such a peer has to answer, and a new one to begin with HTTP/2; then its connection is closed
    and its calls end. Over a slow link the answer waits behind an upload: 16 MiB take 60 s at 280 KB/s."""
    max_connection_age_seconds: Seconds = 3600.0
    """Clients are asked to connect again after about so long, which spreads them over replicas; 0: never."""
    max_connection_age_grace_seconds: Seconds = 600.0
    """Time that calls on such a connection, streams among them, get to end."""

    @property
    def listens_on(self) -> list[tuple[str, int]]:
        """Host and port of the calls, and of the metrics if they are served."""
        metrics = (self.metrics_address, self.metrics_port)
        return [(self.host, self.port), *([metrics] if self.metrics_port >= 0 else [])]

    @property
    def metrics_address(self) -> str:
        """The name or address of the metrics."""
        return self.host if self.metrics_host is None else self.metrics_host

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Reads flags, the environment, and the section that :func:`load_settings` found in the file."""
        assert isinstance(init_settings, InitSettingsSource)
        section = init_settings.init_kwargs.pop(_FROM_FILE, {})
        return init_settings, env_settings, InitSettingsSource(settings_cls, section)

    @model_validator(mode="before")
    @classmethod
    def _derive_metrics_port(cls, values: dict[str, Any]) -> dict[str, Any]:
        try:
            port = int(values.get("port", cls.model_fields["port"].default))
        except (TypeError, ValueError, OverflowError):
            return values  # the field's own check names what is wrong
        derived = port + METRICS_PORT_OFFSET
        return {"metrics_port": derived if port and derived <= MAX_PORT else 0, **values}

    @model_validator(mode="after")
    def _check_request_bytes(self) -> Self:
        if self.max_request_bytes_in_flight < self.max_message_bytes:
            raise ValueError("max_request_bytes_in_flight must be at least max_message_bytes")
        return self


class FeedingSettings(ServerSettings):
    """What servers have that take items in."""

    max_memory_bytes: int = Field(default=0, ge=0, le=_MAX_BYTES)
    """Memory that the process may use; 0: what its control groups allow, or else what the machine has."""
    memory_share: float = Field(default=0.85, gt=0, le=1, allow_inf_nan=False)
    """Share of that memory beyond which new items are refused with RESOURCE_EXHAUSTED, before the kernel
    kills. A hasher refuses them earlier where less is left than rebuilding its largest index takes."""


_FROM_FILE = "section of the settings file"
_Settings = TypeVar("_Settings", bound=ServerSettings)


def load_settings(cls: type[_Settings], config_file: Path | None = None, **flags: Any) -> _Settings:
    """Reads the settings of one service.

    Args:
        cls: The settings class.
        config_file: TOML file with a section for each service; other services' sections are ignored.
        flags: Values from the command line; ``None`` means not given.

    Raises:
        InvalidInputError: The file is missing or not valid TOML, a name is unknown or a value is bad
            (``CONFIG_INVALID``).
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if config_file:
        given[_FROM_FILE] = _section(config_file, str(cls.model_config["title"]))
    try:
        return cls(**given)
    except ValidationError as error:
        problems = "; ".join(_problem(problem["loc"], problem["msg"]) for problem in error.errors())
        raise _bad(f"bad settings: {problems}") from None


def _section(file: Path, name: str) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text()).get(name, {})
    except OSError as error:
        raise _bad(f"cannot read the settings file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _bad(f"the settings file {file} is not valid TOML: {error}") from None
    if not isinstance(values, dict):
        raise _bad(f"[{name}] in {file} must be a section")
    return values


def _problem(place: tuple[int | str, ...], message: str) -> str:
    """Returns one of pydantic's findings; it puts words of its own in front of what our checks say."""
    said = message.removeprefix("Value error, ")
    return f"{'.'.join(map(str, place))}: {said}" if place else said


def _bad(problem: str) -> InvalidInputError:
    return InvalidInputError(problem, reason=Reason.CONFIG_INVALID)
