"""Real model bundles whose network is tiny."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

TINY_CATEGORIES = (
    ("clothes", "sport", "running"),
    ("clothes", "sport", "tennis"),
    ("shoes", "sport", "running"),
    ("shoes", "street"),
)


def tiny_bundle_in(
    folder: Path, categories: tuple[tuple[str, ...], ...] = TINY_CATEGORIES, seed: int = 0
) -> Path:
    """Makes a bundle in a folder, and returns the bundle's own; its network differs by seed."""
    from embedder.backends.onnx import OnnxEncoder
    from embedder.bundle import write_bundle
    from embedder.golden import GoldenImages
    from embedder.model.taxonomy import Taxonomy
    from embedder.preprocess import PreprocessParams

    taxonomy = Taxonomy.from_categories(categories)
    _tiny_network(folder / "tiny.onnx", taxonomy.sizes, seed)
    write = partial(
        write_bundle,
        folder / "tiny",
        folder / "tiny.onnx",
        dim=16,
        taxonomy=taxonomy,
        preprocess=PreprocessParams(size=32),
        provenance={},
        metrics={},
    )
    bundle = write()
    return write(golden=GoldenImages.of(OnnxEncoder(bundle, threads=1), bundle.preprocess)).path


def _tiny_network(file: Path, class_counts: tuple[int, ...], seed: int) -> None:
    """Average colours of a 4x4 grid → a random projection to unit length → a softmax per level."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    weights = {"projection": rng.standard_normal((48, 16))}
    nodes = [
        helper.make_node("AveragePool", ["images"], ["grid"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["grid"], ["colours"]),
        helper.make_node("MatMul", ["colours", "projection"], ["raw"]),
        helper.make_node("LpNormalization", ["raw"], ["embedding"], axis=1, p=2),
    ]
    outputs = {"embedding": 16}
    for level, count in zip(("meta", "level2", "leaf"), class_counts, strict=False):
        weights[f"{level}_weights"] = 4 * rng.standard_normal((16, count))
        nodes.append(helper.make_node("MatMul", ["embedding", f"{level}_weights"], [f"{level}_logits"]))
        nodes.append(helper.make_node("Softmax", [f"{level}_logits"], [level], axis=1))
        outputs[level] = count
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
            for name, width in outputs.items()
        ],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
