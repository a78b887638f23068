"""The command line of the curves of fine-tuning."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.engine.machine import machine_facts
from benchmarks.engine.report import table
from benchmarks.models.cli import noter
from benchmarks.models.fine_tuning.curve import Point, curve
from benchmarks.models.levers.data import DATA, tasks
from benchmarks.models.levers.settings import settings_of
from embedder.training.config import TrainConfig, default_cache_folder

__all__ = ["VARIANTS", "main"]

VARIANTS = {
    "all stages": "fine_tune=true",
    "last 2 stages": "fine_tune=true + fine_tune_stages=2",
    "last 2 stages, 8 kept copies": "fine_tune=true + fine_tune_stages=2 + fine_tune_copies=8",
    "last 3 stages, 8 kept copies": "fine_tune=true + fine_tune_stages=3 + fine_tune_copies=8",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the curves that are asked for and not there yet, prints the table, and returns the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, str], list[Point]] = {}
    try:
        for task in tasks(arguments.data, arguments.photos, arguments.out):
            for name in arguments.variants:
                settings = settings_of(VARIANTS.get(name, name))
                common = {
                    "seed": arguments.seed,
                    "threads": arguments.threads,
                    "cache_folder": arguments.cache,
                }
                common |= {"hold_out": arguments.hold_out, "fine_tune_epochs": arguments.epochs}
                config = TrainConfig.model_validate(common | task.settings | settings)
                file = arguments.out / f"{task.name}-{_digest(config)}.json"
                if not file.is_file():
                    points = curve(task, config, noter(f"{task.name}: {name}"))
                    part = file.with_suffix(".part")
                    part.write_text(json.dumps({"settings": config.decides(), "points": points}))
                    os.replace(part, file)
                found[task.name, name] = json.loads(file.read_text())["points"]
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("\nstopped; the curves that are whole are kept", file=sys.stderr)
        return 130
    facts = {"machine": machine_facts(), "command": sys.argv[1:]}
    (arguments.out / "machine.json").write_text(json.dumps(facts, indent=1))
    text = "\n".join(_table(data, name, points) for (data, name), points in found.items())
    (arguments.out / "curves.md").write_text(text)
    print(f"\n{text}\nwritten: {arguments.out / 'curves.md'}", flush=True)
    return 0


def _digest(config: TrainConfig) -> str:
    settings = {"backbone": str(config.backbone), **config.decides()}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _table(data: str, name: str, points: Sequence[Point]) -> str:
    searches = list(points[0]["searches"])
    header = ["epochs", "CPU minutes", *(f"{search}: R@1" for search in searches)]
    rows = [
        [
            str(point["epoch"]),
            f"{point['cpu_seconds'] / 60:.1f}",
            *(f"{point['searches'][search]['recall@1']:.3f}" for search in searches),
        ]
        for point in points
    ]
    return f"### {data}: {name}\n\n" + table(header, rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.fine_tuning", description=__doc__)
    parser.add_argument("--photos", type=Path, help="folder with grocery/ and fashion/")
    parser.add_argument("--data", nargs="+", default=["grocery"], help=f"{', '.join(DATA)}, or NAME=CATALOG")
    parser.add_argument(
        "--variants", nargs="+", default=list(VARIANTS), help=f"{'; '.join(VARIANTS)}, or setting=value + ..."
    )
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--hold-out", type=float, default=0.1, help="share of the products")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    parser.add_argument("--out", type=Path, default=Path("build/bench/fine-tuning"))
    parser.add_argument(
        "--cache", type=Path, default=default_cache_folder(), help="backbone and its features"
    )
    return parser
