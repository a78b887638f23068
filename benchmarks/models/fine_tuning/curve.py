"""One fine-tuning, measured after each epoch as if it ended there."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from benchmarks.models.tasks import Search, Task
from embedder.evaluation.offline import rank_items
from embedder.evaluation.summary import full_ranking_measures, means
from embedder.model.heads import EmbeddingHead
from embedder.training.config import TrainConfig
from embedder.training.interpolation import interpolate, parameters_of
from embedder.training.outcome import outcome_of_photos
from embedder.training.run import TrainingRun
from lookalike.catalogue.catalog import CatalogItem

__all__ = ["Point", "curve"]

Point = dict[str, Any]
"""``epoch, cpu_seconds`` of the fine-tuning so far, and ``searches`` with their means."""

Note = Callable[[str], None]
HELD_OUT = "products held out"


class _Clock:
    """The processor's time of this process, all its threads, but for what is measured meanwhile."""

    def __init__(self) -> None:
        self._left_out = 0.0
        self._start = time.process_time()

    @property
    def seconds(self) -> float:
        return time.process_time() - self._start - self._left_out

    @contextmanager
    def stopped(self) -> Iterator[float]:
        """Gives the time so far, and leaves out what is spent inside."""
        begun = time.process_time()
        yield self.seconds
        self._left_out += time.process_time() - begun


class _Curve:
    def __init__(self, task: Task, config: TrainConfig, note: Note) -> None:
        self._note = note
        self._config = config
        self._run = TrainingRun(task.catalog(), config, self._progress)
        self._searches = dict(task.searches)
        if self._run.held_out:
            held_out = self._run.held_out.items
            self._searches |= {HELD_OUT: Search.among(held_out)}
        self._clock: _Clock | None = None
        self.points: list[Point] = []

    def draw(self) -> None:
        run = self._run
        self._head = run.make_head()
        run.train_head(self._head)
        self._starts = parameters_of(run.backbone.module), parameters_of(self._head)
        self._point(0, 0.0)
        self._clock = _Clock()
        run.fine_tune(self._head)

    def _progress(self, stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        self._note(f"{stage} {done} of {total}, {figures.get('photos_per_second', 0.0):.1f} photos/s")
        per_epoch = total // self._config.fine_tune_epochs
        if stage == "fine-tune" and self._clock and done % per_epoch == 0:
            with self._clock.stopped() as seconds:
                self._point(done // per_epoch, seconds)

    def _point(self, epoch: int, seconds: float) -> None:
        kept = copy.deepcopy(self._run.backbone.module), copy.deepcopy(self._head)
        for part, start in zip(kept, self._starts, strict=True):
            interpolate(part, start, self._config.fine_tune_share)
        found = self._measured(*kept)
        self.points.append({"epoch": epoch, "cpu_seconds": seconds, "searches": found})
        self._note(f"epoch {epoch}: {seconds:.0f} CPU s, " + _first_hits(found))

    def _measured(self, backbone: nn.Module, head: EmbeddingHead) -> dict[str, dict[str, float]]:
        run = self._run
        items = list(
            {item.item_id: item for search in self._searches.values() for item in _of(search)}.values()
        )
        params, threads = run.backbone.preprocess, self._config.thread_count
        mirror = run.backbone.mirror
        outcome = outcome_of_photos(backbone, head, items, run.taxonomy, params, threads, mirror=mirror)
        vectors = {item.item_id: row for item, row in zip(items, outcome.embeddings, strict=True)}
        return {
            name: means(
                full_ranking_measures(
                    rank_items(search.questions, [item.item_id for item in search.index], vectors)
                )
            )
            for name, search in self._searches.items()
        }


def curve(task: Task, config: TrainConfig, note: Note) -> list[Point]:
    """Returns a point for the model with its backbone frozen, and one for each epoch of fine-tuning.

    Args:
        task: What is trained on and asked for; products that the settings hold out are asked for as well.
        config: The settings; ``workers`` must be 0 for their time to count.
        note: Takes what is going on.
    """
    drawn = _Curve(task, config, note)
    drawn.draw()
    return drawn.points


def _of(search: Search) -> list[CatalogItem]:
    return [*search.index, *(question.item for question in search.questions)]


def _first_hits(found: Mapping[str, Mapping[str, float]]) -> str:
    return ", ".join(f"{name}: {means['recall@1']:.3f}" for name, means in found.items())
