"""The machine and the versions that figures belong to."""

from __future__ import annotations

import os
import platform
import re
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lookalike import _native

__all__ = ["available_bytes", "busy_seconds", "machine_facts", "waited_seconds"]

DISTRIBUTIONS = ("lookalike", "numpy", "faiss-cpu", "scann", "hnswlib", "usearch", "scalable-vs")
ISA_FLAGS = ("avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_vpopcntdq", "avx512_bf16", "amx_int8")


def machine_facts() -> dict[str, Any]:
    """Processor, caches, memory, system, library versions and the time, for the JSON."""
    cpu = Path("/proc/cpuinfo").read_text()
    flags = set(_first(r"^flags\s*: (.*)$", cpu).split())
    caches = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        caches[f"L{level} {kind.lower()}"] = size
    return {
        "processor": _first(r"^model name\s*: (.*)$", cpu),
        "vendor": _first(r"^vendor_id\s*: (.*)$", cpu),
        "family_model_stepping": [
            _first(rf"^{name}\s*: (.*)$", cpu) for name in ("cpu family", "model", "stepping")
        ],
        "cores": os.cpu_count(),
        "isa": [flag for flag in ISA_FLAGS if flag in flags],
        "caches": caches,
        "memory_bytes": _meminfo("MemTotal"),
        "huge_pages": _read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "hypervisor": "hypervisor" in flags,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "lookalike_isa": _native.active_isa(),
        "versions": {name: _version(name) for name in DISTRIBUTIONS},
        "load_average": os.getloadavg()[0],
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def busy_seconds() -> float:
    """Processor time that all processes together have used since the machine started."""
    user, nice, system, _, _, irq, soft_irq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")


def waited_seconds() -> float:
    """Time that the main thread of this process has waited for a core since it began."""
    return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9


def available_bytes() -> int:
    """Memory that can be taken without swapping."""
    return _meminfo("MemAvailable")


def _meminfo(name: str) -> int:
    return int(_first(rf"^{name}:\s*(\d+) kB$", Path("/proc/meminfo").read_text())) * 1024


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1) if found else "0"


def _read(path: str) -> str | None:
    return Path(path).read_text().strip() if Path(path).exists() else None


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
