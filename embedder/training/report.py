"""The training report: a page that shows how training went and where the model is wrong."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from embedder.decoding.decode import decode_image
from embedder.evaluation.measures import lca_heights
from embedder.photos import read_photo
from embedder.training.callbacks import Figures
from embedder.training.matching import Matched
from embedder.training.outcome import Outcome
from embedder.training.plots import confusion, draw_confusion, draw_curves, draw_reliability
from lookalike.catalogue.catalog import LEVELS

_MISTAKES_SHOWN = 24
_THUMBNAIL = 160
_BAD_PHOTOS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Mistake:
    """A row whose deepest known category was predicted wrong.

    Attributes:
        row: Its place among the rows.
        predicted: The predicted path of that level.
        confidence: The model's probability for it.
        height: Height of the lowest common ancestor of prediction and truth; 1 for siblings.
    """

    row: int
    predicted: tuple[str, ...]
    confidence: float
    height: int


def mistakes(outcome: Outcome) -> list[Mistake]:
    """Returns the mistakes at each row's deepest known level, the most confident first."""
    depths = [min(len(item.categories), len(outcome.taxonomy.paths)) for item in outcome.items]
    rows = [row for row, depth in enumerate(depths) if depth]
    levels = [outcome.predicted(depth) for depth in range(len(outcome.taxonomy.paths))]
    predicted = [levels[depths[row] - 1][row] for row in rows]
    actual = [outcome.items[row].categories for row in rows]
    tree = [path for level in outcome.taxonomy.paths for path in level]
    heights = lca_heights(predicted, actual, tree).tolist()
    found = [
        Mistake(row, guess, outcome.confidence(row, depths[row] - 1), height)
        for row, guess, height in zip(rows, predicted, heights, strict=True)
        if height
    ]
    return sorted(found, key=lambda mistake: (-mistake.confidence, mistake.row))


def write_report(
    folder: Path,
    outcomes: Mapping[str, Outcome],
    history: Mapping[str, Sequence[Figures]],
    metrics: Mapping[str, float],
    matched: Matched,
    bad_photos: Mapping[Path, str],
    provenance: Mapping[str, Any],
) -> Path:
    """Writes the report as ``index.html`` with its pictures next to it.

    Args:
        folder: Its folder; what is there is replaced.
        outcomes: By name (``train``, ``val``) what the model says of labelled rows. Confusions and
            mistakes are those of the last.
        history: By stage, each epoch's figures.
        metrics: The model's figures.
        matched: How likely its hits are right.
        bad_photos: Photos that could not be read, with the reason.
        provenance: How the model came about.

    Returns:
        The page.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    name, outcome = list(outcomes.items())[-1]
    stages = {stage: f"curves-{stage}.png" for stage, figures in history.items() if figures}
    for stage, file in stages.items():
        draw_curves(history[stage], folder / file)
    wrong = mistakes(outcome)
    labelled = sum(bool(item.categories) for item in outcome.items) if outcome.taxonomy.paths else 0
    environment = Environment(
        loader=PackageLoader("embedder.training"), autoescape=True, undefined=StrictUndefined
    )
    page = folder / "index.html"
    page.write_text(
        environment.get_template("report.html").render(
            rows_name={"train": "training", "val": "validation"}[name],
            metrics=metrics,
            stages=stages,
            confusions=_confusions(outcome, folder) if labelled else {},
            matching=_matching(matched, folder),
            heights=sorted(Counter(mistake.height for mistake in wrong).items()),
            labelled=labelled,
            wrong=len(wrong),
            mistakes=_pictures(outcome, wrong[:_MISTAKES_SHOWN], folder),
            bad_count=len(bad_photos),
            bad_photos=[(path.name, problem) for path, problem in bad_photos.items()][:_BAD_PHOTOS_SHOWN],
            provenance=json.dumps(provenance, indent=2, sort_keys=True),
        ),
        encoding="utf-8",
    )
    return page


def _matching(matched: Matched, folder: Path) -> dict[str, Any]:
    if not matched.calibration:
        return {"how": matched.how, "figures": None}
    figures = matched.figures()
    draw_reliability(figures["reliability"], folder / "reliability.png")
    return {"how": matched.how, "figures": figures, "file": "reliability.png"}


def _confusions(outcome: Outcome, folder: Path) -> dict[str, str]:
    files = {}
    for depth in range(len(outcome.taxonomy.paths)):
        names, shares = confusion(outcome, depth)
        if len(names) > 1:
            files[LEVELS[depth]] = f"confusion-{LEVELS[depth]}.png"
            draw_confusion(names, shares, LEVELS[depth], folder / files[LEVELS[depth]])
    return files


def _pictures(outcome: Outcome, shown: Sequence[Mistake], folder: Path) -> list[dict[str, Any]]:
    """Describes mistakes, each with a thumbnail of its photo."""
    found = []
    for number, mistake in enumerate(shown):
        item = outcome.items[mistake.row]
        file = f"mistake-{number:02}.jpg"
        photo = decode_image(read_photo(item.image_path), min_side=_THUMBNAIL)
        photo.thumbnail((_THUMBNAIL, _THUMBNAIL))
        photo.save(folder / file, "JPEG", quality=85)
        found.append(
            {
                "file": file,
                "item": item.item_id,
                "actual": " / ".join(item.categories),
                "predicted": " / ".join(mistake.predicted),
                "confidence": mistake.confidence,
                "height": mistake.height,
            }
        )
    return found
