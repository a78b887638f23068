"""The load generator, a program in Rust: what it is given, and what it found."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.process import ROOT

__all__ = ["Found", "Load", "binary", "ended", "grpc_call", "read_messages", "run", "start", "write_messages"]

MISSING = 2**32 - 1
DEADLINE_SECONDS = 5.0
SECONDS_TO_END = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """How requests are sent.

    Attributes:
        seconds: For how long.
        rate: Requests a second at random times; None: as fast as ``callers`` get answers.
        callers: Requests under way, where there is no rate.
        seed: Of the times.
        connections: Calls take turns over them.
    """

    seconds: float
    rate: float | None = None
    callers: int = 16
    seed: int = 1
    connections: int = 4
    deadline_seconds: float = DEADLINE_SECONDS

    @property
    def flags(self) -> list[str]:
        """The generator's command and flags."""
        how = ["closed", f"--callers={self.callers}"]
        if self.rate is not None:
            how = ["open", f"--rate={self.rate}", f"--seed={self.seed}"]
        how += [f"--seconds={self.seconds}", f"--connections={self.connections}"]
        return [*how, f"--deadline-ms={round(self.deadline_seconds * 1e3)}"]


@dataclass(frozen=True, slots=True)
class Found:
    """What became of the requests; times are in microseconds.

    Attributes:
        statuses: gRPC status → requests.
        unsent: Requests that were due and not sent, as thousands were already under way.
        answered_per_second: Over the whole run.
        latency_us: Percentile → time from the moment a request was due to its answer; none without an answer.
        service_us: The same from the moment it was sent.
        late_us: The same from the moment it was due to the moment it was sent.
        failed_us: Percentile → time from the moment a request was due to its failure.
    """

    seconds: float
    statuses: Mapping[str, int]
    unsent: int
    answered_per_second: float
    latency_us: Mapping[str, float]
    service_us: Mapping[str, float]
    late_us: Mapping[str, float]
    failed_us: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Found:
        """Reads what the generator has printed."""
        found: dict[str, Any] = json.loads(text)
        return cls(
            found["seconds"],
            found["statuses"],
            found["unsent"],
            found["answered_per_second"],
            *(found[times] or {} for times in ("latency_us", "service_us", "late_us", "failed_us")),
        )

    @property
    def answered(self) -> int:
        """Requests with an answer."""
        return self.statuses.get("OK", 0)

    @property
    def failed(self) -> int:
        """Requests without one, those included that were not sent."""
        return sum(self.statuses.values()) - self.answered + self.unsent


def grpc_call(target: str, method: str) -> list[str]:
    """The flags of calls of a gRPC method, such as ``/lookalike.v1.SearchService/Search``."""
    return [f"--target={target}", f"--method={method}"]


def binary() -> Path:
    """Returns the program, which the variable LOOKALIKE_LOAD may name.

    Raises:
        FileNotFoundError: It was not built.
    """
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "native" / "target")
    program = Path(os.environ.get("LOOKALIKE_LOAD") or target / "release" / "lookalike-load")
    if not program.exists():
        raise FileNotFoundError(f"{program} is missing; make load-generator builds it")
    return program


def write_messages(file: Path, messages: Iterable[bytes]) -> Path:
    """Writes messages, each after its length, and returns the file."""
    file.write_bytes(b"".join(struct.pack("<I", len(message)) + message for message in messages))
    return file


def read_messages(file: Path) -> list[bytes | None]:
    """Reads messages, of which some may be missing."""
    data, at = file.read_bytes(), 0
    messages: list[bytes | None] = []
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        at += 4
        if length == MISSING:
            messages.append(None)
            continue
        messages.append(data[at : at + length])
        at += length
    return messages


def start(call: Sequence[str], requests: Path, load: Load, *more: str) -> subprocess.Popen[str]:
    """Starts to send requests; ``call`` are the flags that say where to and how."""
    command = [str(binary()), *load.flags, *call, f"--requests={requests}", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(call: Sequence[str], requests: Path, load: Load, answers: Path | None = None) -> Found:
    """Sends requests and returns what became of them.

    Args:
        call: Flags that say where to and how.
        answers: Gets the first answer to each request.

    Raises:
        RuntimeError: The generator failed.
    """
    return ended(start(call, requests, load, *([f"--answers={answers}"] if answers else [])), load)


def ended(process: subprocess.Popen[str], load: Load) -> Found:
    """Waits for a generator, and returns what it found.

    Raises:
        RuntimeError: It failed.
    """
    limit = load.seconds + load.deadline_seconds + SECONDS_TO_END
    try:
        out, errors = process.communicate(timeout=limit)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode:
        raise RuntimeError(f"the load generator failed: {errors.strip()}")
    return Found.parse(out)
