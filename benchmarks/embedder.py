"""How fast photos become vectors: decoding, preprocessing, and one network in every backend, side by side.

``python -m benchmarks.embedder --bundle BUNDLE`` writes ``embedder.json`` and ``embedder.md``. Backends take
turns, one round of every batch size each, so that a slow minute of the machine hits all; the figures are
over the calls of all rounds. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.embedder_backends import Array, BackendOptions, TritonClient, backbone_of, open_backends
from benchmarks.embedder_gpu import gpu_name, training
from benchmarks.embedder_trained import train_in_memory
from benchmarks.engine.machine import machine_facts
from benchmarks.engine.report import table
from benchmarks.pillow_input import pillow_input
from embedder.bundle import Bundle, load_bundle
from embedder.decoding.decode import decode_image
from embedder.encoder import Encoder
from embedder.golden import cosine_distance
from embedder.model.backbone import BackboneSpec
from embedder.preprocess import PreprocessParams, preprocess, to_input
from embedder.training.config import TrainConfig
from lookalike.catalogue.catalog import read_catalog
from lookalike.errors import LookalikeError

SIDES = (512, 1600, 4000)
"""Longest sides of the JPEGs to decode, in pixels: a shop's, a message's and a phone's."""
VERSIONS = ("numpy", "pillow", "onnxruntime", "openvino", "torch", "tritonclient")
_MIN_CALLS = 3
_DECODED = 4
_TURNS = 8
_CALIBRATION = 64
_AGREEMENT_BATCH = 8
TRAINED_BACKENDS = ("onnxruntime f32", "openvino f32", "openvino bf16", "triton")
_TRAINED_SIDE = 256
_TRAINED_PHOTOS = 64
_TRAINED_DIM = 256
_TRAINED_EPOCHS = 5


@dataclass
class Calls:
    """Times of equal calls on ``items`` pictures each."""

    items: int
    seconds: list[float] = field(default_factory=list)

    def run(self, call: Callable[[], object], budget_seconds: float) -> None:
        """Repeat a call for a while; the first is a warm-up and does not count."""
        call()
        end = time.perf_counter() + budget_seconds
        calls = 0
        while calls < _MIN_CALLS or time.perf_counter() < end:
            start = time.perf_counter()
            call()
            self.seconds.append(time.perf_counter() - start)
            calls += 1

    def figures(self) -> dict[str, float]:
        """Images/s of the whole, and percentiles of one call in milliseconds."""
        p50, p99 = np.percentile(self.seconds, [50, 99]) * 1e3
        rate = self.items * len(self.seconds) / sum(self.seconds)
        return {
            "images_per_second": float(rate),
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "calls": len(self.seconds),
        }


@dataclass(frozen=True)
class Options:
    """What to measure, and for how long."""

    batches: tuple[int, ...]
    seconds: float
    rounds: int
    threads: int
    agree: int
    backends: tuple[str, ...]
    sides: tuple[int, ...] = SIDES
    weights: Path | None = None
    catalogue: Path | None = None

    @property
    def of_backends(self) -> BackendOptions:
        """What backends are opened with."""
        return BackendOptions(self.threads, max(_AGREEMENT_BATCH, *self.batches), self.weights)


def simulated_catalogue(photos: int, folder: Path, side: int) -> Path:
    """At least so many square JPEGs from the catalogue simulator: their table."""
    from lookalike.synth import generate

    return generate(folder, products=-(-photos // 4), views=4, seed=11, image_size=side)


def simulated_photos(count: int, folder: Path) -> list[bytes]:
    """JPEGs of 512 x 512 from the catalogue simulator."""
    csv = simulated_catalogue(count, folder, 512)
    return [path.read_bytes() for path in sorted((csv.parent / "images").rglob("*.*"))[:count]]


def resized(photo: bytes, side: int) -> bytes:
    """The same photo as a 4:3 JPEG of another size, as a camera would store it."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    out = io.BytesIO()
    image.resize((side, side * 3 // 4), Image.Resampling.BICUBIC).save(out, "JPEG", quality=85)
    return out.getvalue()


def decoding(photos: Sequence[bytes], bundle: Bundle, options: Options) -> list[dict[str, Any]]:
    """One photo at a time on one thread: decode in full, decode scaled, all of preprocessing; in turns."""
    rows = []
    for side in options.sides:
        _say(f"decoding, {side} pixels")
        files = [resized(photo, side) for photo in photos[:_DECODED]]
        steps = _steps(files, bundle.preprocess)
        calls = {name: Calls(1) for name in steps}
        for _ in range(_TURNS):
            for name, each in steps.items():
                for step in each:
                    calls[name].run(step, options.seconds / (_TURNS * len(each)))
        photo = f"JPEG {side} x {side * 3 // 4}"
        rows += [{"photo": photo, "step": name, **done.figures()} for name, done in calls.items()]
    return rows


def _steps(files: Sequence[bytes], params: PreprocessParams) -> dict[str, list[Callable[[], object]]]:
    """What is measured, on every file."""
    scaled = partial(decode_image, min_side=2 * params.size)
    images = [scaled(data) for data in files]
    return {
        "decode in full": [partial(decode_image, data) for data in files],
        "decode with DCT scaling": [partial(scaled, data) for data in files],
        "fit, normalise": [partial(to_input, image, params) for image in images],
        "fit, normalise by Pillow and NumPy": [partial(pillow_input, image, params) for image in images],
        "decode with DCT scaling, fit, normalise": [partial(preprocess, data, params) for data in files],
        "the same by Pillow and NumPy": [partial(_preprocess_by_pillow, data, params) for data in files],
    }


def _preprocess_by_pillow(data: bytes, params: PreprocessParams) -> Array:
    return pillow_input(decode_image(data, min_side=2 * params.size), params)


def inference(backends: dict[str, Encoder], images: Array, options: Options) -> list[dict[str, Any]]:
    """Every backend at every batch size, in rounds."""
    calls = {(name, batch): Calls(batch) for name in backends for batch in options.batches}
    for number in range(options.rounds):
        for (name, batch), measured in calls.items():
            _say(f"round {number + 1} of {options.rounds}: {name}, batches of {batch}")
            pictures = np.resize(images, (batch, *images.shape[1:]))
            measured.run(lambda e=backends[name], p=pictures: e.encode(p), options.seconds)  # type: ignore[misc]
    return [{"backend": name, "batch": batch, **done.figures()} for (name, batch), done in calls.items()]


def concurrent(client: TritonClient, images: Array, options: Options) -> list[dict[str, Any]]:
    """Batches from several callers at once, which Triton merges."""

    async def caller(pictures: Array, seconds: list[float], end: float) -> None:
        while not seconds or time.perf_counter() < end:
            start = time.perf_counter()
            await client.encoder.encode(pictures)
            seconds.append(time.perf_counter() - start)

    async def at(callers: int, batch: int) -> dict[str, float]:
        calls = Calls(batch)
        pictures = np.resize(images, (batch, *images.shape[1:]))
        start = time.perf_counter()
        end = start + options.seconds * options.rounds
        await asyncio.gather(*(caller(pictures, calls.seconds, end) for _ in range(callers)))
        rate = batch * len(calls.seconds) / (time.perf_counter() - start)
        return {**calls.figures(), "images_per_second": rate}

    _say("Triton, several callers")
    return [
        {"callers": callers, "batch": batch, **client.loop.run_until_complete(at(callers, batch))}
        for batch in (1, 4, 16)
        if batch <= max(options.batches)
        for callers in (1, 2, 4, 8, 16)
    ]


def agreement(backends: dict[str, Encoder], images: Array) -> list[dict[str, Any]]:
    """Largest cosine distance of each backend's embeddings from the first backend's."""
    parts = np.array_split(images, -(-len(images) // _AGREEMENT_BATCH))
    rows = {
        name: np.concatenate([backend.encode(part).embedding for part in parts])
        for name, backend in backends.items()
    }
    reference = "torch f32" if "torch f32" in rows else next(iter(rows))
    return [
        {
            "backend": name,
            "against": reference,
            "photos": len(images),
            "max_cosine_distance": cosine_distance(rows[reference], found),
        }
        for name, found in rows.items()
        if name != reference
    ]


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def markdown(report: dict[str, Any]) -> str:
    """The report as tables."""
    facts = report["machine"]
    gpu = f" GPU: {facts['gpu']}." if facts["gpu"] else ""
    parts = [f"{facts['processor']}, {facts['cores']} cores, {report['threads']} threads a batch.{gpu}\n"]
    for title, rows in report["sections"].items():
        if rows:
            parts += [
                f"## {title}\n",
                table(list(rows[0]), ([_cell(v) for v in row.values()] for row in rows)),
            ]
    parts += [f"Left out: {name}: {reason}\n" for name, reason in report["left_out"].items()]
    return "\n".join(parts)


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1e}" if abs(value) < 1 else f"{value:,.1f}"


def measure(bundle: Bundle, options: Options) -> dict[str, Any]:
    """Run everything; see the module."""
    facts = machine_facts()
    facts["versions"] = {name: version(name) for name in VERSIONS}
    facts["gpu"] = gpu_name()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        photos = simulated_photos(max(options.agree, _CALIBRATION), folder)
        images = np.stack([preprocess(photo, bundle.preprocess) for photo in photos])
        backends, left_out = open_backends(
            bundle, photos[:_CALIBRATION], options.backends, options.of_backends, stack
        )
        sections: dict[str, list[dict[str, Any]]] = {
            "Decoding and preprocessing, one thread": decoding(photos, bundle, options),
            "Agreement": agreement(backends, images[: options.agree]) if options.agree else [],
            "Inference": inference(backends, images[: max(options.batches)], options),
        }
        client = backends.get("triton")
        if isinstance(client, TritonClient):
            sections["Triton, several callers"] = concurrent(client, images, options)
    try:
        sections["Agreement of a model trained here"] = trained_agreement(bundle, options)
        if facts["gpu"]:
            backbone = backbone_of(bundle, options.weights)
            seconds = options.seconds * options.rounds
            sections["Training steps, bfloat16"] = training(
                backbone.module, backbone.preprocess.size, options.batches, seconds
            )
    except LookalikeError as error:
        left_out["training"] = error.message
    return {
        "machine": facts,
        "model_version": bundle.model_version,
        "threads": options.threads or os.cpu_count(),
        "sections": sections,
        "left_out": left_out,
    }


def trained_agreement(bundle: Bundle, options: Options) -> list[dict[str, Any]]:
    """Train a head on the bundle's backbone; compare the network in memory with its bundle in the backends.

    Raises:
        InvalidInputError: The bundle does not name a backbone that can be built again.
    """
    if not options.agree:
        return []
    _say("training a model, to compare the backends on it")
    backbone = backbone_of(bundle, options.weights)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        csv = options.catalogue or simulated_catalogue(
            max(options.agree, _TRAINED_PHOTOS), folder / "photos", _TRAINED_SIDE
        )
        catalogue = read_catalog(csv)
        config = TrainConfig(
            backbone=BackboneSpec(bundle.manifest.provenance["architecture"], options.weights),
            embedding_dim=min(_TRAINED_DIM, backbone.dim),
            epochs=_TRAINED_EPOCHS,
            augmented_copies=0,
            threads=options.threads,
            cache_folder=folder / "cache",
        )
        trained = train_in_memory(catalogue, config, folder / "bundle")
        chosen = catalogue.items[:: max(1, len(catalogue.items) // options.agree)][: options.agree]
        images = np.stack([preprocess(item.image_path.read_bytes(), backbone.preprocess) for item in chosen])
        of_backends = BackendOptions(options.threads, _AGREEMENT_BATCH)
        backends, _ = open_backends(trained.bundle, [], TRAINED_BACKENDS, of_backends, stack)
        return agreement({"torch f32": trained.eager, **backends}, images)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bundle", type=Path, required=True, help="the model bundle")
    parser.add_argument(
        "--out", type=Path, default=Path("build/bench/embedder"), help="folder for the results"
    )
    parser.add_argument("--batches", default="1,2,4,8,16,32,64", help="batch sizes")
    parser.add_argument("--seconds", type=float, default=2.0, help="per backend, batch size and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="per batch; 0: one per core")
    parser.add_argument("--agree", type=int, default=200, help="photos to compare the backends on")
    parser.add_argument("--backbone-weights", type=Path, help="the backbone's weights, where they are others")
    parser.add_argument("--catalog", type=Path, help="photos for the trained model; default: simulated ones")
    parser.add_argument(
        "--backends", default="", help="some of the backends, by name, split by semicolons; default: all"
    )
    given = parser.parse_args()
    options = Options(
        batches=tuple(int(batch) for batch in given.batches.split(",")),
        seconds=given.seconds,
        rounds=given.rounds,
        threads=given.threads,
        agree=given.agree,
        backends=tuple(filter(None, (name.strip() for name in given.backends.split(";")))),
        weights=given.backbone_weights,
        catalogue=given.catalog,
    )
    report = measure(load_bundle(given.bundle), options)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "embedder.json").write_text(json.dumps(report, indent=1) + "\n")
    (given.out / "embedder.md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
