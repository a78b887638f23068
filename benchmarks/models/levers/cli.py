"""The command line of the levers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from benchmarks.models.cli import noter
from benchmarks.models.levers.cost import images_per_cpu_second
from benchmarks.models.levers.data import DATA, tasks
from benchmarks.models.levers.lines import Line, append, choice_table, data_table, read
from benchmarks.models.levers.settings import BASELINE, LEVERS, settings_of
from benchmarks.models.measure import measured
from benchmarks.models.tasks import Task
from embedder.model.backbone import load_backbone
from embedder.training.config import TrainConfig, default_cache_folder
from embedder.training.run import backbone_bundle

__all__ = ["main"]

_PHOTOS_TIMED = 32


def main(argv: Sequence[str] | None = None) -> int:
    """Measures what is asked for and not there yet, prints the tables, and returns the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        asked = tasks(arguments.data, arguments.photos, arguments.out)
        levers = {name: settings_of(name) for name in arguments.levers}
        configs = {
            (task.name, name, seed): _config(task, settings, seed, arguments)
            for task in asked
            for name, settings in levers.items()
            for seed in _seeds(settings, arguments.seeds)
        }
    except (ValueError, ValidationError) as error:
        parser.error(str(error))
    file, lines = arguments.out / "levers.jsonl", []
    known = read(file)
    try:
        for task in asked:
            for (data, name, seed), config in configs.items():
                if data == task.name:
                    lines.append(_line(task, name, seed, config, arguments.out, known))
                    if lines[-1]["key"] not in known:
                        append(file, lines[-1])
    except KeyboardInterrupt:
        print("\nstopped; what was measured is kept, and the next run goes on from there", file=sys.stderr)
        return 130
    text = "\n".join([*(data_table(lines, task.name) for task in asked), choice_table(lines)])
    (arguments.out / "levers.md").write_text(text)
    print(f"\n{text}\nwritten: {file}", flush=True)
    return 0


def _seeds(settings: dict[str, object], seeds: Sequence[int]) -> Sequence[int]:
    """The plain backbone is the same with every seed."""
    return seeds[:1] if settings.get("head") == "none" and not settings.get("whitening") else seeds


def _config(task: Task, settings: dict[str, object], seed: int, arguments: argparse.Namespace) -> TrainConfig:
    common = {"seed": seed, "threads": arguments.threads, "cache_folder": arguments.cache, "max_bad_share": 0}
    return TrainConfig.model_validate(common | task.settings | settings)


def _line(
    task: Task, lever: str, seed: int, config: TrainConfig, out: Path, known: Mapping[str, Line]
) -> Line:
    found = measured(task, config, out / "runs", noter(f"{task.name}: {lever}, seed {seed}"))
    if found["key"] in known:
        return known[found["key"]] | {"lever": lever}
    photos = [item.image_path for item in task.train[:_PHOTOS_TIMED]]
    searches = found["searches"]
    return {
        "data": task.name,
        "lever": lever,
        "seed": seed,
        "settings": config.decides(),
        "key": found["key"],
        "rows": found["rows"],
        "training_cpu_seconds": found["training_cpu_seconds"],
        "images_per_cpu_second": images_per_cpu_second(
            backbone_bundle(load_backbone(config.backbone), config), photos
        ),
        "searches": {name: search["means"] for name, search in searches.items()},
        "recall@1": {name: search["queries"]["recall@1"] for name, search in searches.items()},
        "products": {name: search["products"] for name, search in searches.items()},
        "labelled": found["labelled"],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.levers", description=__doc__)
    parser.add_argument("--photos", type=Path, help="folder with grocery/ and fashion/")
    parser.add_argument(
        "--data",
        nargs="+",
        default=["grocery"],
        help=f"{', '.join(DATA)}, or NAME=CATALOG for one of your own",
    )
    parser.add_argument(
        "--levers",
        nargs="+",
        default=[BASELINE, "default"],
        help=f"joined by ' + ': {', '.join(LEVERS)}, or setting=value",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    parser.add_argument("--out", type=Path, default=Path("build/bench/levers"))
    parser.add_argument(
        "--cache", type=Path, default=default_cache_folder(), help="backbone and its features"
    )
    return parser
