"""One model: train it, ask it everything, keep what it said."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import embedder
from benchmarks.models.tasks import Search, Task
from embedder.evaluation.offline import rank_items
from embedder.evaluation.retrieval import PLAIN, Options
from embedder.evaluation.summary import by_level, classification_measures, full_ranking_measures, means
from embedder.evaluation.voting import votes_on
from embedder.training.config import TrainConfig
from embedder.training.outcome import Outcome
from embedder.training.run import TrainingRun
from embedder.training.run_folder import open_run_folder
from lookalike.catalogue.catalog import LEVELS, CatalogItem
from lookalike.categories.belief import Belief
from lookalike.categories.tree import CategoryPath, PathTree
from lookalike.categories.vote import with_votes

__all__ = ["Measured", "measured"]

Measured = dict[str, Any]


def measured(
    task: Task, config: TrainConfig, folder: Path, note: Callable[[str], None], options: Options = PLAIN
) -> Measured:
    """Returns the figures of one model, from `folder` if it was measured before.

    A fine-tuning that was stopped goes on from its last checkpoint; `training_cpu_seconds` is then its last
    part.
    """
    run = TrainingRun(task.catalog(), config, _reported(note))
    key = _key(task, run.provenance(), options)
    file = folder / f"{key}.json"
    if file.is_file():
        kept: Measured = json.loads(file.read_text())
        return kept
    if config.fine_tune:
        run.config = config.model_copy(update={"run_folder": folder / f"{key}.run"})
        open_run_folder(folder / f"{key}.run", run.provenance(), resume=True)
    started = time.process_time()
    head, _ = run.train()
    trained = time.process_time() - started
    outcome = run.outcome(head, _asked(task))
    figures = {
        "provenance": run.provenance(),
        "key": key,
        "training_cpu_seconds": trained,
        "rows": len(run.rows.items),
        **_figures(task, outcome, options),
    }
    folder.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(figures))
    os.replace(partial, file)
    return figures


def _key(task: Task, provenance: Mapping[str, Any], options: Options) -> str:
    """A name that other rows to train on or to ask for, other settings and other code change."""
    rows = [
        (item.item_id, item.product_id, item.categories, _photo_hash(item.image_path))
        for item in _asked(task)
    ]
    searches = {
        name: (
            [(one.item.item_id, sorted(one.relevant)) for one in search.questions],
            [item.item_id for item in search.index],
        )
        for name, search in task.searches.items()
    }
    labelled = {name: [item.item_id for item in items] for name, items in task.labelled.items()}
    asked = [task.name, options.name, provenance, rows, searches, labelled]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
    for source in (*sorted(Path(embedder.__file__).parent.rglob("*.py")), Path(__file__)):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _photo_hash(photo: Path) -> str:
    return hashlib.sha256(photo.read_bytes()).hexdigest()


def _reported(note: Callable[[str], None]) -> Callable[[str, int, int, Mapping[str, float]], None]:
    def progress(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if done == total or done % 20 == 0:
            rate = figures.get("photos_per_second")
            note(f"{stage} {done} of {total}" + (f", {rate:.1f} photos/s" if rate else ""))

    return progress


def _asked(task: Task) -> list[CatalogItem]:
    rows = {item.item_id: item for item in task.train}
    for search in task.searches.values():
        rows |= {item.item_id: item for item in search.index}
        rows |= {question.item.item_id: question.item for question in search.questions}
    for items in task.labelled.values():
        rows |= {item.item_id: item for item in items}
    return list(rows.values())


def _figures(task: Task, outcome: Outcome, options: Options) -> Measured:
    place = {item.item_id: row for row, item in enumerate(outcome.items)}
    vectors = {item_id: outcome.embeddings[row] for item_id, row in place.items()}
    searches = {name: _search(search, vectors, options) for name, search in task.searches.items()}
    tree = {item.categories for item in _asked(task)}
    labelled: Measured = {}
    for name, items in task.labelled.items():
        rows = [place[item.item_id] for item in items]
        actual = [item.categories for item in items]
        votes = votes_on(items, task.train, vectors)
        predicted = {"votes": [by_level(with_votes(None, one).category, LEVELS) for one in votes]}
        if outcome.probabilities:
            predicted |= _predicted(outcome, rows, votes)
        labelled[name] = {
            who: classification_measures(paths, actual, tree) for who, paths in predicted.items()
        }
    return {"searches": searches, "labelled": labelled}


def _predicted(
    outcome: Outcome, rows: Sequence[int], votes: Sequence[Mapping[CategoryPath, float]]
) -> dict[str, list[dict[str, CategoryPath]]]:
    """Returns what is predicted of some rows, by the way of predicting it, each by level."""
    levels = LEVELS[: len(outcome.probabilities)]
    tree = PathTree(outcome.taxonomy.paths)
    said = [level[rows] for level in outcome.probabilities]
    beliefs = [Belief(tree, posterior) for posterior in tree.posterior(said)]
    best = [level.argmax(axis=1).tolist() for level in said]
    return {
        "classifier": [by_level(belief.category, levels) for belief in beliefs],
        "levels apart": [
            {level: outcome.taxonomy.paths[depth][best[depth][row]] for depth, level in enumerate(levels)}
            for row in range(len(rows))
        ],
        "classifier and votes": [
            by_level(with_votes(belief, vote).category, LEVELS)
            for belief, vote in zip(beliefs, votes, strict=True)
        ],
    }


def _search(search: Search, vectors: Mapping[str, Any], options: Options) -> Measured:
    outcomes = rank_items(search.questions, [item.item_id for item in search.index], vectors, options)
    measures = full_ranking_measures(outcomes)
    return {
        "means": means(measures),
        "queries": {name: values.tolist() for name, values in measures.items()},
        "products": [question.item.product_id for question in search.questions],
    }
