"""Queries for catalogues that have one photo of each product: the photo as if taken once more, elsewhere.

What is done to a picture is not what training does to its copies, so that no augmentation is measured by
its own likes: the picture is turned, put small before a scene of another photo, lit from one side, and
compressed twice.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.models.tasks import Search
from embedder.training.augment import studio_background
from lookalike.catalogue.catalog import CatalogItem

__all__ = ["altered_searches"]

_VERSION = 1


def altered_searches(asked: Sequence[CatalogItem], others: Sequence[CatalogItem], folder: Path) -> Search:
    """Asks for altered photos among the unaltered ones and others.

    Of rows that share a title the first alone is asked for and indexed: they may show one product.

    Args:
        asked: Rows to ask for.
        others: Further rows to index.
        folder: Where altered pictures are written, unless they are there.
    """
    alone = list({item.title or item.item_id: item for item in reversed(asked)}.values())[::-1]
    done = folder / "done.json"
    names = [_VERSION, [item.item_id for item in alone]]
    if not done.is_file() or json.loads(done.read_text()) != names:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, item in enumerate(alone):
            random = np.random.default_rng([number, len(alone)])
            scene = others[int(random.integers(len(others)))].image_path
            _retaken(
                Image.open(item.image_path).convert("RGB"), Image.open(scene).convert("RGB"), random
            ).save(folder / f"{number}.jpg", quality=int(random.integers(40, 80)))
        part = done.with_suffix(".part")
        part.write_text(json.dumps(names))
        os.replace(part, done)
    queries = [
        replace(item, item_id=f"altered {item.item_id}", image_path=folder / f"{number}.jpg")
        for number, item in enumerate(alone)
    ]
    titles = {item.title for item in alone if item.title}
    return Search.of(queries, [*alone, *(item for item in others if item.title not in titles)])


def _retaken(image: Image.Image, scene: Image.Image, random: np.random.Generator) -> Image.Image:
    background = studio_background(image)
    seen = np.full(image.size[::-1], 255, np.uint8)
    if background is not None:
        seen[background] = 0
    side = round(max(image.size) * random.uniform(1.05, 1.6))
    turn = random.uniform(-25, 25)
    product, mask = (
        one.rotate(turn, Image.Resampling.BICUBIC, expand=True) for one in (image, Image.fromarray(seen))
    )
    behind = scene.resize((side, side), Image.Resampling.BILINEAR)
    room = (max(0, side - product.width), max(0, side - product.height))
    place = (int(random.integers(room[0] + 1)), int(random.integers(room[1] + 1)))
    behind.paste(product, place, mask)
    pixels = np.asarray(behind, dtype=np.float32)
    ramp = np.linspace(random.uniform(0.5, 1), random.uniform(0.8, 1.3), side, dtype=np.float32)
    lit = np.clip(pixels * (ramp[:, None, None] if random.random() < 0.5 else ramp[None, :, None]), 0, 255)
    file = io.BytesIO()
    Image.fromarray(lit.astype(np.uint8)).save(file, "JPEG", quality=int(random.integers(25, 60)))
    return Image.open(file).convert("RGB")
