"""How well the untrained backbone ranks: what training has to beat."""

from __future__ import annotations

from pathlib import Path

from lookalike.catalogue.catalog import Catalog
from lookalike.catalogue.questions import questions
from lookalike.cli.console import Update
from lookalike.runtime.cpus import available_cpus


def plain_backbone_figures(
    catalog: Catalog, bundle_folder: Path, cache: Path, update: Update
) -> dict[str, float]:
    """Ranks the index for every query by the cosine of plain backbone features, by brute force.

    Args:
        catalog: Index and query rows.
        bundle_folder: Where the backbone's own bundle is kept; made if missing.
        cache: Where features are kept.
        update: Called with how many photos are done.

    Returns:
        ``mar@10``, ``mar@10_capped`` and ``recall@1``.
    """
    from embedder.backends.onnx import OnnxEncoder
    from embedder.evaluation.offline import rank_items
    from embedder.evaluation.summary import means, retrieval_measures
    from embedder.export import export_default_bundle
    from embedder.training.features import FeatureExtractor

    asked = questions(catalog)
    index = catalog.index_items()
    rows = {item.item_id: item for item in [*index, *(question.item for question in asked)]}
    threads = available_cpus()
    bundle = export_default_bundle(bundle_folder)
    extractor = FeatureExtractor(bundle, OnnxEncoder(bundle, threads), cache, threads)
    features = extractor.extract([item.image_path for item in rows.values()], 0, "mild", 0, update)
    vectors = {item_id: features.values[0, row] for row, item_id in enumerate(rows) if features.readable[row]}
    measured = means(retrieval_measures(rank_items(asked, [item.item_id for item in index], vectors)))
    return {name: measured[name] for name in ("mar@10", "mar@10_capped", "recall@1")}
