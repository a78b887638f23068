from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw

from deploy.local.triton import TritonServer
from embedder.bundle import Bundle
from lookalike.catalogue.catalog import Catalog, CatalogItem

if TYPE_CHECKING:
    from embedder.training.config import TrainConfig


TOY_CATEGORIES = (("toys", "balls", "red"), ("toys", "balls", "blue"), ("toys", "cubes"), ("tools",))


def picture(product: int, view: int) -> Image.Image:
    """A shape per category, a colour per product, a place per view."""
    random = np.random.default_rng([product, view])
    image = Image.new("RGB", (64, 64), tuple(int(v) for v in random.integers(200, 256, 3)))
    x, y = (int(v) for v in random.integers(4, 24, 2))
    colour = tuple(int(v) for v in np.random.default_rng(product).integers(0, 200, 3))
    draw = ImageDraw.Draw(image)
    (draw.ellipse if product % 4 < 2 else draw.rectangle)((x, y, x + 32, y + 32), fill=colour)
    return image


@pytest.fixture(scope="session")
def toy_photo() -> Callable[[int, int], bytes]:
    """A photo file of product 0 to 11 of the toy catalogue, from any view."""

    def make(product: int, view: int) -> bytes:
        out = io.BytesIO()
        picture(product, view).save(out, "PNG")
        return out.getvalue()

    return make


@pytest.fixture(scope="session")
def toy_catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """12 products of 4 photos in a ragged tree: 3 to train on, 1 to validate with."""
    root = tmp_path_factory.mktemp("toys")
    items = []
    for product in range(12):
        for view in range(4):
            path = root / f"{product}-{view}.png"
            picture(product, view).save(path)
            items.append(
                CatalogItem(
                    item_id=path.stem,
                    product_id=f"p{product}",
                    image_path=path,
                    categories=TOY_CATEGORIES[product % 4],
                    splits=frozenset({"val" if view == 3 else "train"}),
                )
            )
    return Catalog(tuple(items), root)


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A small backbone with random weights, which are enough to tell the toys apart."""
    folder = tmp_path_factory.mktemp("cache")
    import timm
    import torch

    from embedder.model.backbone import BackboneSpec
    from embedder.training.config import TrainConfig

    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(timm.create_model("test_resnet", num_classes=0).state_dict(), folder / "weights.pth")
    return TrainConfig(
        backbone=BackboneSpec("test_resnet", folder / "weights.pth"),
        embedding_dim=32,
        level_width=16,
        threads=2,
        cache_folder=folder,
        match_calibration=False,
    )


@pytest.fixture(scope="session")
def default_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The offline default model, exported once."""
    from embedder.export import export_default_bundle

    out: Path = tmp_path_factory.mktemp("default") / "bundle"
    return export_default_bundle(out)


@pytest.fixture(scope="module")
def triton(triton_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A running Triton without models; tests load theirs under names of their own."""
    server = TritonServer(tmp_path_factory.mktemp("triton"))
    try:
        server.start()
        yield server
    finally:
        server.stop()
