"""Measuring a model bundle with a catalogue's queries, without any service.

Photos go through the bundle's own preprocessing and its ONNX network; search compares each query with the
whole index in float32. A photo that cannot be read is listed and left out: as a query it finds nothing,
in the index it is found by nothing, and nothing is said about its category.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import Bundle, load_bundle
from embedder.evaluation.calibration import best_hits
from embedder.evaluation.embedding import embed_photos
from embedder.evaluation.measures import Query
from embedder.evaluation.products import rank_products
from embedder.evaluation.reliability import match_figures
from embedder.evaluation.retrieval import PLAIN, Options, search
from embedder.evaluation.search import NOBODY
from embedder.evaluation.summary import (
    PerQuery,
    by_level,
    classification_measures,
    differences,
    full_ranking_measures,
    means,
)
from embedder.evaluation.voting import categories_by_vote
from lookalike.catalogue.catalog import LEVELS, Catalog, CatalogItem
from lookalike.catalogue.questions import Question, all_questions
from lookalike.categories.belief import Belief
from lookalike.errors import InvalidInputError, Reason
from lookalike.matching import DEPTH

Update = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class OfflineEvaluation:
    """What was measured.

    Attributes:
        figures: As ``lookalike evaluate`` writes them.
        questions: Every query of the catalogue, also those without a right answer.
        outcomes: The ranking of each with the options asked for, own item left out.
        fallback: Ids of the index for a query that could not be read but must be answered.
    """

    figures: dict[str, Any]
    questions: list[Question]
    outcomes: list[Query]
    fallback: list[str]

    def answers(self) -> list[tuple[str, Sequence[str]]]:
        """Returns each query's id with its ranking; a query that could not be read gets the fallback."""
        pairs = zip(self.questions, self.outcomes, strict=True)
        return [(asked.item.item_id, outcome.ranked or self.fallback) for asked, outcome in pairs]


@dataclass(frozen=True, slots=True)
class _Model:
    """A bundle and what it says about readable photos, by item id; beliefs about those to be classified."""

    bundle: Bundle
    vectors: dict[str, npt.NDArray[np.float32]]
    beliefs: dict[str, Belief]
    problems: dict[str, str]


def evaluate_bundle(
    catalog: Catalog,
    bundle: Path,
    *,
    options: Options = PLAIN,
    k: int = 10,
    baseline: Path | None = None,
    update: Update,
) -> OfflineEvaluation:
    """Measures how well a model finds a catalogue's products and classifies them.

    Args:
        catalog: Rows with split ``query`` or ``both`` are searched for among those with ``index`` or
            ``both``, their own item left out; categories are also measured on the ``val`` rows.
        bundle: Folder of the model.
        options: Post-processing; the plain search is measured as well.
        k: Another depth of MAR@k in addition to 1 and 10.
        baseline: Folder of a model to compare with, with the same options.
        update: Called with the number of photos done.

    Raises:
        InvalidInputError: A bundle is invalid, or the catalogue has nothing to measure.
    """
    questions = all_questions(catalog)
    bundles = [load_bundle(folder) for folder in (bundle, baseline) if folder]
    rows = _rows_to_embed(catalog, questions, bundles[0])
    total = len(rows) * len(bundles)
    classified = {
        item.item_id for item in (*(one.item for one in questions), *_labelled(catalog, bundles[0]))
    }
    model, *others = [
        _embed(one, rows, classified, _later_part(update, number * len(rows), total))
        for number, one in enumerate(bundles)
    ]
    measured, outcomes = _measure_variants(model, catalog, questions, options, k)
    figures = _figures(model, catalog, questions, measured, options)
    index_ids = [item.item_id for item in catalog.index_items()]
    if others:
        (other,) = others
        theirs: PerQuery = {}
        if measured:
            theirs = full_ranking_measures(rank_items(questions, index_ids, other.vectors, options, k), k)
        figures["against"] = _against(other, measured.get(options.name, {}), theirs, questions)
    readable = sorted(item_id for item_id in index_ids if item_id in model.vectors)
    return OfflineEvaluation(figures, questions, outcomes, readable)


def rank_items(
    questions: Sequence[Question],
    index_ids: Sequence[str],
    vectors: Mapping[str, npt.NDArray[np.float32]],
    options: Options = PLAIN,
    k: int = 10,
) -> list[Query]:
    """Ranks the index for each query, deep enough for every measure.

    Args:
        questions: The queries.
        index_ids: Ids of the index; those without a vector are never found.
        vectors: By item id ``(D,)`` float32 of unit norm. A query without one has an empty ranking.
        options: Post-processing.
        k: At least this many results; as many as a query has right answers, if those are more.
    """
    present = sorted(item_id for item_id in index_ids if item_id in vectors)
    asked = [number for number, question in enumerate(questions) if question.item.item_id in vectors]
    outcomes = [Query([], question.relevant) for question in questions]
    if not present or not asked:
        return outcomes
    place = {item_id: row for row, item_id in enumerate(present)}
    names = [questions[number].item.item_id for number in asked]
    positions = search(
        np.stack([vectors[name] for name in names]),
        np.stack([vectors[item_id] for item_id in present]),
        np.array([place.get(name, NOBODY) for name in names], dtype=np.int64),
        max(10, k, *(len(question.relevant) for question in questions)),
        options,
    )
    for number, found in zip(asked, positions.tolist(), strict=True):
        ranked = [present[row] for row in found if row != NOBODY]
        outcomes[number] = Query(ranked, questions[number].relevant)
    return outcomes


def _rows_to_embed(catalog: Catalog, questions: Sequence[Question], bundle: Bundle) -> list[CatalogItem]:
    index, held_out = catalog.index_items(), _labelled(catalog, bundle)
    if questions and not index:
        raise InvalidInputError(
            "the catalogue has queries but no index to search: no row's split names index or both",
            reason=Reason.CATALOG_INVALID,
            field="split",
        )
    if not questions and not held_out:
        raise InvalidInputError(
            "the catalogue has nothing to measure: no row's split names query or both, and none is a val row"
            " with a category that the model could predict",
            reason=Reason.CATALOG_INVALID,
            field="split",
        )
    asked = [question.item for question in questions]
    # A row may be both indexed and asked for; it is embedded once.
    return list({item.item_id: item for item in [*(index if asked else []), *asked, *held_out]}.values())


def _labelled(catalog: Catalog, bundle: Bundle) -> list[CatalogItem]:
    return [item for item in catalog.rows("val") if item.categories and bundle.levels]


def _embed(
    bundle: Bundle, rows: Sequence[CatalogItem], classified: Collection[str], update: Update
) -> _Model:
    positions = {number for number, item in enumerate(rows) if item.item_id in classified}
    photos = [item.image_path for item in rows]
    embedded = embed_photos(bundle, OnnxEncoder(bundle), photos, update, positions)
    model = _Model(bundle, {}, {}, {})
    for number, item in enumerate(rows):
        if number in embedded.problems:
            model.problems[item.item_id] = embedded.problems[number]
            continue
        model.vectors[item.item_id] = embedded.vectors[number]
        if number in embedded.beliefs:
            model.beliefs[item.item_id] = embedded.beliefs[number]
    return model


def _later_part(update: Update, before: int, total: int) -> Update:
    return lambda done, _: update(before + done, total)


def _measure_variants(
    model: _Model, catalog: Catalog, questions: Sequence[Question], options: Options, k: int
) -> tuple[dict[str, PerQuery], list[Query]]:
    """Returns each variant's measures by its name, none if no query has a right answer; and the rankings."""
    index_ids = [item.item_id for item in catalog.index_items()]
    if not any(question.relevant for question in questions):
        return {}, rank_items(questions, index_ids, model.vectors, options, k)
    measured: dict[str, PerQuery] = {}
    outcomes: list[Query] = []
    for variant in options.variants():
        outcomes = rank_items(questions, index_ids, model.vectors, variant, k)
        measured[variant.name] = full_ranking_measures(outcomes, k)
    return measured, outcomes


def _figures(
    model: _Model,
    catalog: Catalog,
    questions: Sequence[Question],
    measured: Mapping[str, PerQuery],
    options: Options,
) -> dict[str, Any]:
    counted = [question for question in questions if question.relevant]
    plain = means(measured["plain"]) if measured else {}
    asked_for = means(measured[options.name]) if measured else {}
    figures: dict[str, Any] = {
        "queries": len(counted),
        "queries_without_answer": len(questions) - len(counted),
        "index": len(catalog.index_items()),
        **asked_for,
        **{f"exact_{name}": value for name, value in plain.items() if name != "mar@1"},
        **_classification(model, [question.item for question in counted], catalog),
        "val": None,
        "match": _match_figures(model, catalog, counted),
        "options": _variant_figures(measured, questions),
        "bad_photos": model.problems,
        "model_version": model.bundle.model_version,
    }
    if held_out := _labelled(catalog, model.bundle):
        figures["val"] = {"rows": len(held_out), **_classification(model, held_out, catalog)}
    return figures


def _match_figures(model: _Model, catalog: Catalog, questions: Sequence[Question]) -> dict[str, Any] | None:
    """Returns how far the model's probabilities can be believed; None without a calibration or a query.

    Ranks products, without post-processing: that is what is served.
    """
    calibration = model.bundle.match_calibration
    index = [item for item in catalog.index_items() if item.item_id in model.vectors]
    asked = [question for question in questions if question.item.item_id in model.vectors]
    if calibration is None or not index or not asked:
        return None
    place = {item.item_id: row for row, item in enumerate(index)}
    present = rank_products(
        np.stack([model.vectors[question.item.item_id] for question in asked]),
        [question.item.product_id for question in asked],
        np.stack([model.vectors[item.item_id] for item in index]),
        [item.product_id for item in index],
        DEPTH + 1,
        np.array([place.get(question.item.item_id, NOBODY) for question in asked], dtype=np.int64),
    )
    absent, _ = best_hits(calibration, present.without_the_right_one())
    return match_figures(best_hits(calibration, present), absent, calibration.absent_share)


def _classification(model: _Model, rows: Sequence[CatalogItem], catalog: Catalog) -> dict[str, Any]:
    readable = [item for item in rows if item.item_id in model.vectors]
    actual = [item.categories for item in readable]
    tree = {item.categories for item in catalog.items}
    levels = model.bundle.levels
    alone = [by_level(model.beliefs[item.item_id].category if levels else (), levels) for item in readable]
    known = {path for paths in model.bundle.taxonomy.paths for path in paths}
    deepest = [path[: len(levels)] for path in actual]
    unknown = sum(bool(path) and path not in known for path in deepest)
    figures = {**classification_measures(alone, actual, tree), "unknown_categories": unknown}
    voted = categories_by_vote(readable, catalog.index_items(), model.vectors, model.beliefs)
    if voted:
        by_vote = [by_level(category, LEVELS) for category in voted]
        figures["with_vote"] = classification_measures(by_vote, actual, tree)
    return figures


def _variant_figures(measured: Mapping[str, PerQuery], questions: Sequence[Question]) -> dict[str, Any]:
    """Returns each variant's figures, and how they differ from the plain search."""
    products = [question.item.product_id for question in questions]
    found: dict[str, Any] = {}
    for name, measures in measured.items():
        found[name] = means(measures)
        if name != "plain":
            found[name]["difference_to_plain"] = differences(measures, measured["plain"], products)
    return found


def _against(
    other: _Model, mine: PerQuery, theirs: PerQuery, questions: Sequence[Question]
) -> dict[str, Any]:
    figures: dict[str, Any] = {"model_version": other.bundle.model_version, "bad_photos": other.problems}
    if theirs:
        products = [question.item.product_id for question in questions]
        figures |= {**means(theirs), "difference": differences(mine, theirs, products)}
    return figures
