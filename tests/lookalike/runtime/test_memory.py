from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lookalike.errors import OverloadedError, Reason
from lookalike.runtime.memory import MemoryWatch, Sources, Usage
from lookalike.runtime.metrics import Metrics

GIB, MIB = 1 << 30, 1 << 20
V2 = "0::/pod/container\n"
V1 = "4:memory:/docker/x\n1:cpu:/docker\n"


@dataclass
class Machine:
    """Files as the kernel has them."""

    folder: Path

    def write(self, path: str, content: object) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")

    @property
    def sources(self) -> Sources:
        return Sources(*(self.folder / name for name in ("status", "meminfo", "cgroup", "own")))

    def process(self, anonymous: int, shared: int = 0) -> None:
        self.write(
            "status", f"VmRSS:\t1 kB\nRssAnon:\t{anonymous // 1024} kB\nRssShmem:\t{shared // 1024} kB"
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """8 GiB, of which the process has 1 GiB and shares another MiB."""
    machine = Machine(tmp_path)
    machine.write("meminfo", f"MemTotal:       {8 * GIB // 1024} kB")
    machine.process(GIB, MIB)
    return machine


def test_without_a_limit_the_machine_bounds_the_process(machine: Machine) -> None:
    assert machine.sources.usage() == Usage(GIB + MIB, 8 * GIB)


def test_a_setting_bounds_the_process(machine: Machine) -> None:
    assert machine.sources.usage(2 * GIB) == Usage(GIB + MIB, 2 * GIB)


def test_of_a_group_what_cannot_be_taken_back_counts(machine: Machine) -> None:
    machine.write("own", V2)
    machine.write("cgroup/pod/container/memory.max", 4 * GIB)
    machine.write("cgroup/pod/container/memory.current", 3 * GIB)
    machine.write(
        "cgroup/pod/container/memory.stat", f"anon 7\nfile {GIB}\nshmem {2 * MIB}\nslab_reclaimable {MIB}"
    )
    machine.write("cgroup/pod/memory.max", "max")
    assert machine.sources.usage() == Usage(2 * GIB + MIB, 4 * GIB)


def test_a_group_of_the_first_version(machine: Machine) -> None:
    machine.write("own", V1)
    machine.write("cgroup/memory/memory.limit_in_bytes", 9223372036854771712)
    machine.write("cgroup/memory/docker/x/memory.limit_in_bytes", 4 * GIB)
    machine.write("cgroup/memory/docker/x/memory.usage_in_bytes", 3 * GIB)
    machine.write("cgroup/memory/docker/x/memory.stat", f"total_cache {GIB}\ntotal_shmem {MIB}")
    assert machine.sources.usage() == Usage(2 * GIB + MIB, 4 * GIB)


def test_what_is_nearest_to_its_limit_counts(machine: Machine) -> None:
    machine.write("own", V2)
    for path, limit, current in (("pod", 4 * GIB, 3 * GIB), ("pod/container", 2 * GIB, GIB)):
        machine.write(f"cgroup/{path}/memory.max", limit)
        machine.write(f"cgroup/{path}/memory.current", current)
    assert machine.sources.usage() == Usage(3 * GIB, 4 * GIB)
    assert machine.sources.usage(GIB + 2 * MIB) == Usage(GIB + MIB, GIB + 2 * MIB)


def test_where_nothing_can_be_read_nothing_is_full(tmp_path: Path) -> None:
    assert not MemoryWatch(Metrics(), sources=Machine(tmp_path).sources).is_full()


def test_this_process_uses_memory_of_this_machine() -> None:
    usage = Sources().usage()
    assert MIB < usage.used_bytes < usage.limit_bytes


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_items_are_refused_until_clearly_less_is_used(machine: Machine) -> None:
    metrics = Metrics()
    watch = MemoryWatch(metrics, GIB, 0.8, sources=machine.sources, clock=Clock())
    with capture_logs() as logs:
        for used, is_full in ((0.79, False), (0.81, True), (0.76, True), (0.74, False), (0.79, False)):
            machine.process(round(used * GIB))
            assert watch.is_full() is is_full
    assert [entry["event"] for entry in logs] == ["memory_full", "memory_free_again"]


def test_who_is_refused_learns_why_and_when_to_come_back(machine: Machine) -> None:
    metrics = Metrics()
    watch = MemoryWatch(metrics, GIB, sources=machine.sources)
    with pytest.raises(OverloadedError, match="the memory of the shard is full") as caught:
        watch.check("the shard")
    assert caught.value.reason is Reason.MEMORY_FULL
    assert caught.value.retry_after_seconds > 0
    values = {
        name: metrics.registry.get_sample_value(f"lookalike_memory_{name}")
        for name in ("used_bytes", "limit_bytes", "reserved_bytes", "full", "refused_writes_total")
    }
    reserved = round(0.15 * GIB)
    assert list(values.values()) == [GIB + MIB, GIB, pytest.approx(reserved, abs=1), 1, 1]


def test_what_a_rebuild_takes_is_kept_free(machine: Machine) -> None:
    needed = [0]
    watch = MemoryWatch(Metrics(), 2 * GIB, 0.9, lambda: needed[0], machine.sources, Clock())
    assert not watch.is_full()
    needed[0] = GIB
    assert watch.is_full()


def test_the_kernel_is_asked_once_in_a_moment(machine: Machine) -> None:
    now = [0.0]
    watch = MemoryWatch(Metrics(), GIB, sources=machine.sources, clock=lambda: now[0])
    assert watch.is_full()
    machine.process(0)
    assert watch.is_full()
    now[0] = 1.0
    assert not watch.is_full()
