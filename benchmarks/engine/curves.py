"""Recall against queries per second: engines side by side, a setting at a time, in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.engine.builds import Build, ensure_build
from benchmarks.engine.catalogue import Catalogue
from benchmarks.engine.contenders import Contender
from benchmarks.engine.engines import installed
from benchmarks.engine.engines.base import Settings, UnavailableError
from benchmarks.engine.levels import Point, worth_repeating
from benchmarks.engine.measure import Mode, load, measure, memory
from benchmarks.engine.processes import Child, ChildError

__all__ = ["MODES", "Options", "Plan", "Run", "prepare", "run_curves"]

MODES: tuple[Mode, ...] = ("single", "batch")
SLACK = 1.25
"""A setting is screened out when another one of its engine is at least as good and this much faster."""
PROCESS_BYTES = 250 * 2**20
"""What a measuring process takes in addition to its index."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one section measures of each search setting.

    Attributes:
        levels: The recall levels at which rates are wanted.
        lowest_recall: Settings below it are not measured beyond the screening, nor drawn.
        modes: Single queries, batches or both.
        queries: How many of the catalogue's queries are searched; all by default.
        screening_queries: How many of them the screening searches.
        baseline: The engine that the others are compared with; by default Lookalike, as it was measured
            in turn with each.
    """

    levels: tuple[float, ...] = (0.95, 0.98, 0.99)
    lowest_recall: float = 0.88
    modes: tuple[Mode, ...] = MODES
    queries: int | None = None
    screening_queries: int = 500
    baseline: str | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """How to measure: where builds are cached, cores, rounds and the memory that indexes may take."""

    cache: Path
    core: int
    build_cores: frozenset[int]
    rounds: int
    memory_bytes: int
    progress: Progress


@dataclass(slots=True)
class Run:
    """One contender on one catalogue.

    Attributes:
        contender: What was measured.
        build: Its index.
        memory: Resident bytes and the library's own figure.
        group: Engines of one group were measured in turn with each other.
        screened: For each search setting and mode, the figures of a short first round, which only
            finds the settings that can matter.
        rounds: For each search setting that can matter and mode, the figures of every round.
    """

    contender: Contender
    build: Build
    group: int = 0
    memory: dict[str, Any] = field(default_factory=dict)
    screened: dict[tuple[int, Mode], dict[str, Any]] = field(default_factory=dict)
    rounds: dict[tuple[int, Mode], list[dict[str, Any]]] = field(default_factory=dict)

    def points(self, mode: Mode) -> list[Point]:
        """The median over the rounds of each setting."""
        found = []
        for index, settings in enumerate(self.contender.searches):
            measured = self.rounds.get((index, mode), [])
            if measured:
                rate = median(m["queries"] / m["seconds"] for m in measured)
                name = f"{self.contender.label} {describe(settings)}"
                found.append(Point(median(m["recall"] for m in measured), rate, name))
        return found

    def as_json(self) -> dict[str, Any]:
        contender = self.contender
        return {
            "engine": contender.engine,
            "label": contender.label,
            "adapter": contender.adapter,
            "build_settings": contender.build,
            "build": self.build.facts(),
            "memory": self.memory,
            "group": self.group,
            "settings": [
                {
                    "search": settings,
                    "screened": {mode: self.screened.get((index, mode)) for mode in MODES},
                    **{mode: self.rounds.get((index, mode), []) for mode in MODES},
                }
                for index, settings in enumerate(contender.searches)
            ],
        }


def describe(settings: Settings) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())


def prepare(
    contenders: Sequence[Contender], catalogue: Catalogue, options: Options
) -> tuple[list[Run], dict[str, str]]:
    """Builds every contender that this machine can run, or takes it from the cache.

    Returns:
        The runs, and for each contender that is left out the reason.
    """
    runs, left_out = [], {}
    for contender in contenders:
        if not installed(contender.adapter):
            left_out[contender.name] = "not installed"
            continue
        options.progress(f"{catalogue.name}: index of {contender.name}")
        try:
            build = ensure_build(contender, catalogue, options.cache, set(options.build_cores))
        except (UnavailableError, ChildError) as error:
            left_out[contender.name] = str(error).strip()
            options.progress(f"{contender.name} is left out: {left_out[contender.name].splitlines()[-1]}")
            continue
        runs.append(Run(contender, build))
    return runs, left_out


def run_curves(
    contenders: Sequence[Contender], catalogue: Catalogue, plan: Plan, options: Options
) -> tuple[list[Run], dict[str, str]]:
    """Measures every contender on `catalogue` as `plan` says.

    Where the indexes do not fit in memory together they are measured in groups, and each group has
    Lookalike's own, so that every comparison is side by side.
    """
    runs, left_out = prepare(contenders, catalogue, options)
    measured = []
    for number, group in enumerate(groups(runs, options.memory_bytes)):
        for run in group:
            run.group = number
        measured += _measure_group(group, catalogue, plan, options, left_out)
    return measured, left_out


def groups(runs: Sequence[Run], memory_bytes: int) -> list[list[Run]]:
    """Splits the runs so that the indexes of each group fit, with a copy of Lookalike's runs in each."""
    own = [run for run in runs if is_own(run.contender)]
    others = [run for run in runs if not is_own(run.contender)]
    fixed = sum(_bytes(run) for run in own)
    parts: list[list[Run]] = [[]]
    for run in others:
        taken = fixed + sum(_bytes(other) for other in parts[-1])
        if parts[-1] and taken + _bytes(run) > memory_bytes:
            parts.append([])
        parts[-1].append(run)
    return [[Run(run.contender, run.build) for run in own] + part for part in parts]


def is_own(contender: Contender) -> bool:
    """Whether other engines are compared with this contender."""
    return contender.adapter == "lookalike" and "churn" not in contender.build


def _bytes(run: Run) -> int:
    return run.build.disk_bytes + PROCESS_BYTES


def _measure_group(
    group: Sequence[Run],
    catalogue: Catalogue,
    plan: Plan,
    options: Options,
    left_out: dict[str, str],
) -> list[Run]:
    with ExitStack() as stack:
        live: list[tuple[Run, Child]] = []

        def attempt(run: Run, child: Child, work: Callable[[], None]) -> None:
            try:
                work()
            except (UnavailableError, ChildError) as error:
                left_out[run.contender.name] = str(error).strip()
                live.remove((run, child))
                options.progress(f"{run.contender.name} is left out: {error}")

        for run in group:
            options.progress(f"{catalogue.name}: loading {run.contender.name}")
            child = stack.enter_context(Child({options.core}))
            live.append((run, child))
            attempt(run, child, partial(_load, run, child, catalogue))
        for number in range(options.rounds + 1):
            name = f"round {number} of {options.rounds}" if number else "screening"
            if number < 2:
                columns = [(r, c, _wanted(r, live, plan)) for r, c in live]
            turns = _turns(columns)
            for position, turn in enumerate(turns):
                options.progress(
                    f"{catalogue.name}: {name}, turn {position + 1} of {len(turns)}, {len(turn)} indexes"
                )
                for run, child, index in turn:
                    if (run, child) in live:
                        attempt(run, child, partial(_measure, run, child, index, plan, screening=not number))
        for run, child in live:
            run.memory = child.call(memory)
        return [run for run, _ in live]


def _load(run: Run, child: Child, catalogue: Catalogue) -> None:
    child.call(
        load, contender=run.contender, index_folder=run.build.folder, catalogue_folder=catalogue.folder
    )


def _measure(run: Run, child: Child, index: int, plan: Plan, screening: bool) -> None:
    for mode in plan.modes:
        figures = child.call(
            measure,
            settings=run.contender.searches[index],
            mode=mode,
            queries=plan.screening_queries if screening else plan.queries,
        )
        if screening:
            run.screened[index, mode] = figures
        else:
            run.rounds.setdefault((index, mode), []).append(figures)


def _turns(columns: Sequence[tuple[Run, Child, list[int]]]) -> list[list[tuple[Run, Child, int]]]:
    """Every index's first setting, then every index's second, and so on."""
    entries = [[(run, child, index) for index in wanted] for run, child, wanted in columns]
    return [[entry for entry in row if entry is not None] for row in zip_longest(*entries)]


def _wanted(run: Run, live: Sequence[tuple[Run, Child]], plan: Plan) -> list[int]:
    """The settings of `run` to measure: all while nothing is screened, then those that can matter."""
    if not run.screened:
        return list(range(len(run.contender.searches)))
    wanted: set[int] = set()
    for mode in plan.modes:
        curve = [
            (other is run, index, Point(figures["recall"], figures["queries"] / figures["seconds"]))
            for other, _ in live
            if other.contender.engine == run.contender.engine
            for (index, screened_mode), figures in other.screened.items()
            if screened_mode == mode and figures["recall"] >= plan.lowest_recall
        ]
        keep = worth_repeating([point for _, _, point in curve], SLACK)
        wanted |= {index for (own, index, _), kept in zip(curve, keep, strict=True) if own and kept}
    return sorted(wanted)
