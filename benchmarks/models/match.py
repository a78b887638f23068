"""How far match probabilities can be believed, of products that neither network nor calibration has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.engine.report import table
from benchmarks.models.match_forms import FORMS
from benchmarks.models.tasks import FOLDS, Search, made_up_folder
from embedder.evaluation.products import ProductRankings, rank_products
from embedder.evaluation.reliability import THRESHOLDS, match_figures, not_here, reliability
from embedder.training.config import TrainConfig
from embedder.training.matching import searches_for_new_products
from embedder.training.run import TrainingRun
from lookalike.catalogue.catalog import Catalog, CatalogItem, read_catalog, split_by_product
from lookalike.matching import DEPTH

__all__ = ["Trial", "forms_table", "grocery", "not_here_table", "reliability_table", "simulated"]

_SHARES = (1.0, 0.3, 0.1)
CHOSEN = "conditional logit with density"
_Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trial:
    """One network, the searches that its calibration is fitted to, and those that it is judged by.

    Attributes:
        fitted: Searches for products that it was not trained on, DEPTH + 1 deep.
        tested: By name, searches for other products.
    """

    fitted: ProductRankings
    tested: Mapping[str, ProductRankings]


def grocery(
    photos: Path, settings: Mapping[str, Any], note: Callable[[str], Callable[[str], None]]
) -> list[Trial]:
    """One trial for each fold of the products, which is searched for and never trained on."""
    catalog = read_catalog(photos / "grocery" / "catalog.csv")
    trials = []
    for fold in range(FOLDS):
        part = split_by_product(catalog, fold, FOLDS)
        searches = {
            "photo → studio": Search.of(part.query_items(), part.index_items()),
            "photo → photo": Search.of(part.query_items(), catalog.rows("train")),
        }
        trials.append(_trial(part, searches, settings, note(f"match: fold {fold}")))
    return trials


def simulated(
    parent: Path,
    products: int,
    views: int,
    settings: Mapping[str, Any],
    note: Callable[[str], Callable[[str], None]],
) -> Trial:
    """Made-up products; searched for among all of the index, and among parts of it."""
    catalog = read_catalog(made_up_folder(parent, products, views, int(settings["seed"])) / "catalog.csv")
    names = sorted({item.product_id for item in catalog.index_items()})
    random = np.random.default_rng(0)
    searches = {}
    for share in _SHARES:
        kept = set(random.choice(names, max(DEPTH + 1, round(share * len(names))), replace=False).tolist())

        def some(items: Sequence[CatalogItem], kept: set[str] = kept) -> list[CatalogItem]:
            return [item for item in items if item.product_id in kept]

        name = f"{len(kept)} unseen products"
        searches[name] = Search.of(some(catalog.query_items()), some(catalog.index_items()))
    return _trial(catalog, searches, settings, note("match: made-up products"))


def _trial(
    catalog: Catalog, searches: Mapping[str, Search], settings: Mapping[str, Any], note: Callable[[str], None]
) -> Trial:
    def progress(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        note(f"{stage} {done} of {total}")

    run = TrainingRun(catalog, TrainConfig.model_validate(settings), progress)
    head, _ = run.train()
    asked, _ = searches_for_new_products(run, head, progress)
    return Trial(asked.rankings, {name: _ranked(run, head, search) for name, search in searches.items()})


def _ranked(run: TrainingRun, head: Any, search: Search) -> ProductRankings:
    questions = [question.item for question in search.questions if question.relevant]
    run.readable([*questions, *search.index])
    return rank_products(
        run.embeddings(head, questions),
        [item.product_id for item in questions],
        run.embeddings(head, search.index),
        [item.product_id for item in search.index],
        DEPTH + 1,
    )


def forms_table(trials: Sequence[Trial]) -> str:
    """How well each form says whether best hits are right, of searches for what is there and what is not."""
    parts = []
    for name in trials[0].tested:
        lines = []
        for form, fit in FORMS.items():
            best, right, gone = _asked(trials, name, fit)
            both, truth = np.concatenate([best, gone]), np.concatenate([right, np.zeros(len(gone), bool)])
            likely = np.clip(np.where(truth, both, 1 - both), 1e-6, None)
            separated = (best[:, None] > gone[None]).mean() + (best[:, None] == gone[None]).mean() / 2
            lines.append(
                [
                    form,
                    f"{reliability(both, truth).error:.3f}",
                    f"{-np.log(likely).mean():.3f}",
                    f"{((both - truth) ** 2).mean():.3f}",
                    f"{separated:.3f}",
                ]
            )
        header = ["form", "ECE", "log loss", "Brier score", "area under ROC, there or not"]
        searches = sum(len(trial.tested[name].right) for trial in trials)
        parts.append(
            f"### {name}, {searches} queries, each also without its product\n\n{table(header, lines)}"
        )
    return "\n".join(parts)


def reliability_table(trials: Sequence[Trial]) -> str:
    """The chosen form: probabilities of best hits against what came true."""
    parts = []
    for name in trials[0].tested:
        best, right, gone = _asked(trials, name, FORMS[CHOSEN])
        bins = match_figures((best, right), gone)["reliability"]
        rows = zip(bins["predicted"], bins["observed"], bins["counts"], strict=True)
        lines = [[f"{predicted:.3f}", f"{observed:.3f}", str(count)] for predicted, observed, count in rows]
        parts.append(f"### {name}\n\n" + table(["probability", "right", "searches"], lines))
    return "\n".join(parts)


def not_here_table(trials: Sequence[Trial]) -> str:
    """The chosen form: what comes of saying "it is not here" below a threshold."""
    lines = []
    for name in trials[0].tested:
        for one in not_here(*_asked(trials, name, FORMS[CHOSEN]), thresholds=THRESHOLDS):
            precision = "–" if one.precision is None else f"{one.precision:.3f}"
            lines.append([name, f"{one.threshold:g}", precision, f"{one.recall:.3f}", f"{one.lost:.3f}"])
    return table(["searches", "threshold", "precision", "recall", "right hits lost"], lines)


def _asked(trials: Sequence[Trial], name: str, fit: Any) -> tuple[_Values, npt.NDArray[np.bool_], _Values]:
    """Pools the best hits of all trials, each by what was fitted to its own searches."""
    found = list(_each(trials, name, fit))
    best, right, gone = (np.concatenate(column) for column in zip(*found, strict=True))
    return best, right, gone


def _each(
    trials: Sequence[Trial], name: str, fit: Any
) -> Iterator[tuple[_Values, npt.NDArray[np.bool_], _Values]]:
    for trial in trials:
        predict = fit(trial.fitted.first(DEPTH), trial.fitted.without_the_right_one())
        tested = trial.tested[name]
        there, gone = tested.first(DEPTH), tested.without_the_right_one()
        best, of_absent = (predict(one.scores.astype(np.float64))[:, 0] for one in (there, gone))
        yield best, there.right == 0, of_absent
