"""How well the untrained backbone ranks: what training has to beat."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lookalike.catalog import Catalog
from lookalike.cli.console import Update
from lookalike.questions import questions

# Ten answers, the query itself, and room for equal scores at the end.
_DEPTH = 32


def plain_backbone_figures(
    catalog: Catalog, bundle_folder: Path, cache: Path, update: Update
) -> dict[str, float]:
    """Ranks the index for every query by the cosine of plain backbone features, by brute force.

    Args:
        catalog: Index and query rows.
        bundle_folder: Where the backbone's own bundle is kept; made if missing.
        cache: Where features are kept.
        update: Told how many photos are done.

    Returns:
        ``mar@10``, ``mar@10_capped`` and ``recall@1``.
    """
    from embedder.backends.onnx import OnnxEncoder
    from embedder.evaluation.metrics import Query, mean_average_recall, rank_by_score, recall_at_1
    from embedder.export import export_default_bundle
    from embedder.training.features import FeatureExtractor

    asked = questions(catalog)
    index = catalog.index_items()
    rows = {item.item_id: item for item in [*index, *(question.item for question in asked)]}
    threads = os.cpu_count() or 1
    bundle = export_default_bundle(bundle_folder)
    extractor = FeatureExtractor(bundle, OnnxEncoder(bundle, threads), cache, threads)
    features = extractor.extract([item.image_path for item in rows.values()], 0, 0, update)
    # An unreadable photo is found by nothing, and finds nothing.
    vectors = dict(zip(rows, np.nan_to_num(features.values[0]), strict=True))
    ids = [item.item_id for item in index]
    matrix = np.stack([vectors[item_id] for item_id in ids])
    outcomes = []
    for question in asked:
        own = question.item.item_id
        scores = matrix @ vectors[own]
        best = np.argpartition(-scores, min(_DEPTH, len(ids) - 1))[:_DEPTH]
        ranked = rank_by_score([ids[place] for place in best], scores[best])
        outcomes.append(Query(ranked, question.relevant, own))
    return {
        "mar@10": mean_average_recall(outcomes, 10).value,
        "mar@10_capped": mean_average_recall(outcomes, 10, capped=True).value,
        "recall@1": recall_at_1(outcomes).value,
    }
