"""A fault of real processes for each alert: how it is made, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.deploy.faults import calls, models, processes, storage
from tests.deploy.faults.site import Site

FLAGS = {
    "gateway": (
        "--max-searches=8",
        "--max-waiting-searches=8",
        "--recall-probe-interval-seconds=0.5",
        "--recall-probe-share=0.5",
    ),
    "hasher": ("--checkpoint-interval-seconds=2",),
    "embedder": ("--follow-seconds=0.5",),
}
"""Settings with which faults show soon."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and the alerts that must say so."""

    what: str
    alerts: tuple[str, ...]
    inject: Callable[[Site], AbstractContextManager[object]]
    """Makes it, and returns what ends it at its exit."""
    needs: str = ""
    """A program without which it cannot be done."""


FAULTS = (
    Fault(
        "a shard is killed",
        ("LookalikeDependencyDown", "LookalikePartialAnswers", "LookalikeSearchErrorBudgetBurn"),
        lambda site: processes.killed(site.hasher),
    ),
    Fault(
        "a shard hangs (SIGSTOP)",
        ("LookalikeShardSilent", "LookalikeTargetDown"),
        lambda site: processes.stopped(site.hasher),
    ),
    Fault("a shard is scraped where nobody answers", ("LookalikeTargetDown",), processes.unscraped),
    Fault(
        "a shard gets a fifth of its CPU time",
        ("LookalikeShardSlow",),
        lambda site: processes.slowed(site.hasher, 0.16, 0.04),
    ),
    Fault(
        "a shard stops for 0.6 s, again and again",
        ("LookalikeSearchLatencyBudgetBurn",),
        lambda site: processes.slowed(site.hasher, 0.6, 0.2),
    ),
    Fault(
        "the gateway is killed",
        ("LookalikeGatewayAbsent",),
        lambda site: processes.killed(site.gateway),
    ),
    Fault(
        "the embedder is killed",
        ("LookalikeDependencyDown", "LookalikeSearchErrorBudgetBurn"),
        lambda site: processes.killed(site.observed.stack.embedder),
    ),
    Fault("64 callers at once, 8 slots", ("LookalikeOverload",), calls.crowd),
    Fault(
        "the gateway gets two thirds of its CPU time in bursts",
        ("LookalikeEventLoopLag",),
        lambda site: processes.slowed(site.gateway, 0.3, 0.6),
    ),
    Fault("Triton gets a twentieth of its CPU time", ("LookalikeEmbedderQueueGrows",), models.photos_queue),
    Fault("the model is unloaded from Triton", ("LookalikeTritonFails",), models.triton_unloaded),
    Fault("a second embedder serves another model", ("LookalikeModelsMixed",), models.other_model),
    Fault(
        "the bundle's folder gets a bundle that is not valid",
        ("LookalikeModelSwitchFailed",),
        models.bad_bundle,
    ),
    Fault(
        "a generation's folder is deleted under the hasher",
        ("LookalikeGenerationFailed",),
        storage.generation_moved,
    ),
    Fault(
        "a generation's folder is gone at the start", ("LookalikeShardDataMissing",), storage.generation_lost
    ),
    Fault(
        "a shard's disk is full",
        ("LookalikeDiskFull", "LookalikeWriteErrorBudgetBurn"),
        storage.disk_full,
        "mount",
    ),
    Fault("a shard's disk fills by 2 % a second", ("LookalikeDiskWillFill",), storage.disk_fills, "mount"),
    Fault("a shard may use 16 MiB of memory", ("LookalikeMemoryFull",), storage.memory_short),
    Fault("each fsync takes 0.4 s more", ("LookalikeFsyncSlow",), storage.slow_sync, "strace"),
    Fault("no index can be saved", ("LookalikeCheckpointStuck",), storage.checkpoint_fails),
    Fault("a reader holds the write-ahead log", ("LookalikeWalGrows",), storage.long_reader),
    Fault("a saved index is damaged at the start", ("LookalikeIndexDamaged",), storage.index_damaged),
    Fault("the rows are locked by another program", ("LookalikeLoadStuck",), storage.locked_start),
    Fault("a shard is killed three times", ("LookalikeRestarts",), processes.restarts),
    Fault("searches that probe one bucket", ("LookalikeRecallLow",), calls.few_probes),
)
