"""The command line of the benchmark of models."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.engine.machine import machine_facts
from benchmarks.models.match import forms_table, grocery, not_here_table, reliability_table, simulated
from benchmarks.models.measure import Measured, measured
from benchmarks.models.report import difference_table, labelled_table, search_table
from benchmarks.models.tasks import Task, folds, made_up, to_choose_by, to_quote
from benchmarks.models.variants import of_section, options_of
from embedder.training.config import TrainConfig, default_cache_folder

__all__ = ["main", "noter"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the sections asked for and returns the exit code."""
    arguments = _checked(_parser(), argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        for section in arguments.only:
            _write(section, SECTIONS[section](arguments), arguments.out)
    except KeyboardInterrupt:
        print("\nstopped; what was measured is kept, and the next run goes on from there", file=sys.stderr)
        return 130
    return 0


def _ablation(arguments: argparse.Namespace) -> str:
    return _tables("ablation", to_choose_by(arguments.photos), arguments)


def _shares(arguments: argparse.Namespace) -> str:
    return _tables("shares", to_choose_by(arguments.photos)[:1], arguments)


def _quoted(arguments: argparse.Namespace) -> str:
    return _tables("quoted", to_quote(arguments.photos), arguments)


def _folds(arguments: argparse.Namespace) -> str:
    # The queries of all folds together, each answered by the one model that has not seen its product.
    seed = arguments.seeds[:1]
    by_fold = [_all_models("folds", task, arguments, seed) for task in folds(arguments.photos)]
    pooled = {name: [runs[name][0] for runs in by_fold] for name in by_fold[0]}
    return "## Products held out\n\n" + difference_table(pooled, "photo → studio", "backbone")


def _made_up(arguments: argparse.Namespace) -> str:
    task = made_up(arguments.out, arguments.products, arguments.views, arguments.seeds[0])
    tables = _tables("made-up", [task], arguments)
    first = _all_models("made-up", task, arguments, arguments.seeds[:1])
    return f"{tables}\n{difference_table(first, 'unseen products', 'backbone')}"


def _match(arguments: argparse.Namespace) -> str:
    parts = []
    for seed in arguments.seeds:
        settings = {"seed": seed, "threads": arguments.threads, "cache_folder": arguments.cache}
        trials = {"made-up products": [simulated(arguments.out, *_made(arguments), settings, noter)]}
        if arguments.photos:
            trials["grocery, held out"] = grocery(arguments.photos, settings, noter)
        for name, some in trials.items():
            tables = forms_table(some), reliability_table(some), not_here_table(some)
            parts.append(f"## {name}, seed {seed}\n\n" + "\n".join(tables))
    return "\n".join(parts)


def _made(arguments: argparse.Namespace) -> tuple[int, int]:
    return arguments.products, arguments.views


def _tables(section: str, tasks: Sequence[Task], arguments: argparse.Namespace) -> str:
    parts = []
    for task in tasks:
        runs = _all_models(section, task, arguments)
        parts.append(f"## {task.name}, {next(iter(runs.values()))[0]['rows']:,} photos trained on\n")
        parts += [search_table(runs, search) for search in task.searches]
        parts += [labelled_table(runs, rows) for rows in task.labelled]
    return "\n".join(parts)


COMPARED_WITH_BACKBONE = ("folds", "made-up")
WITHOUT_PHOTOS = {"made-up", "match"}
SECTIONS: dict[str, Callable[[argparse.Namespace], str]] = {
    "ablation": _ablation,
    "shares": _shares,
    "quoted": _quoted,
    "folds": _folds,
    "made-up": _made_up,
    "match": _match,
}


def _all_models(
    section: str, task: Task, arguments: argparse.Namespace, seeds: Sequence[int] = ()
) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {}
    for name, settings in of_section(section).items():
        if arguments.models and name not in arguments.models:
            continue
        if settings.get("fine_tune") and arguments.fine_tune_epochs:
            settings = settings | {"fine_tune_epochs": arguments.fine_tune_epochs}
        found[name] = []
        for seed in seeds or arguments.seeds:
            common = {"seed": seed, "threads": arguments.threads, "cache_folder": arguments.cache}
            common["max_bad_share"] = 0  # a photo that one model is not asked for would favour another
            config = TrainConfig.model_validate(common | task.settings | settings)
            note = noter(f"{section}: {task.name}: {name}, seed {seed}")
            found[name].append(measured(task, config, arguments.out / "runs", note, options_of(name)))
    return found


def noter(what: str) -> Callable[[str], None]:
    """Returns what says on standard error how far a run is, now and then."""
    started, last = time.monotonic(), [float("-inf")]

    def note(text: str) -> None:
        now = time.monotonic()
        if now - last[0] >= 15:
            last[0] = now
            print(f"{what}: {text} after {now - started:.0f} s", file=sys.stderr, flush=True)

    return note


def _checked(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser.parse_args(argv)
    if arguments.photos is None and not set(arguments.only) <= WITHOUT_PHOTOS:
        parser.error("--photos is needed by every section but made-up and match")
    for section in set(arguments.only) - {"match"}:
        names = list(of_section(section))
        chosen = [name for name in names if not arguments.models or name in arguments.models]
        if not chosen or (section in COMPARED_WITH_BACKBONE and "backbone" not in chosen):
            needed = "backbone and any of" if section in COMPARED_WITH_BACKBONE else "some of"
            parser.error(f"--models for {section}: {needed} {'; '.join(names)}")
    return arguments


def _write(section: str, text: str, out: Path) -> None:
    (out / f"{section}.md").write_text(text)
    facts = {"machine": machine_facts(), "command": sys.argv[1:]}
    (out / f"{section}.json").write_text(json.dumps(facts, indent=1))
    print(f"\n{text}\nwritten: {out / section}.md", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument("--photos", type=Path, help="folder with grocery/ and fashion/")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections")
    parser.add_argument("--models", nargs="+", help="only these of a section's models, by name")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    parser.add_argument("--fine-tune-epochs", type=int, help="fewer, to be quicker; default: the model's own")
    parser.add_argument("--products", type=int, default=600, help="made-up products")
    parser.add_argument("--views", type=int, default=6, help="photos of each made-up product")
    parser.add_argument("--out", type=Path, default=Path("build/bench/models"))
    parser.add_argument(
        "--cache", type=Path, default=default_cache_folder(), help="backbone and its features"
    )
    return parser
