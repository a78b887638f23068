"""How fast photos become vectors: decoding, preprocessing, and one network in every engine, side by side.

``python -m benchmarks.embedder --bundle BUNDLE`` writes ``embedder.json`` and ``embedder.md``. Engines take
turns, one round of every batch size each, so that a slow minute of the machine hits all; the figures are
over the calls of all rounds. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.embedder_engines import Array, TritonClient, open_engines
from benchmarks.engine.machine import machine_facts
from benchmarks.engine.report import table
from embedder.backends.base import Encoder
from embedder.bundle import Bundle, load_bundle
from embedder.golden import cosine_distance
from embedder.preprocess import decode_image, fit_square, preprocess, to_tensor

SIDES = (512, 1600, 4000)
"""Longest sides of the JPEGs to decode, in pixels: a shop's, a message's and a phone's."""
VERSIONS = ("numpy", "pillow", "onnxruntime", "openvino", "torch", "tritonclient")
_MIN_CALLS = 3
_DECODED = 4
_CALIBRATION = 64


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
    engines: tuple[str, ...]
    sides: tuple[int, ...] = SIDES


def simulated_photos(count: int, folder: Path) -> list[bytes]:
    """JPEGs of 512 x 512 from the catalogue simulator."""
    from lookalike.synth import generate

    products = -(-count // 4)
    csv = generate(folder, products=products, views=4, seed=11, image_size=512)
    return [path.read_bytes() for path in sorted((csv.parent / "images").rglob("*.*"))[:count]]


def resized(photo: bytes, side: int) -> bytes:
    """The same photo as a 4:3 JPEG of another size, as a camera would store it."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    out = io.BytesIO()
    image.resize((side, side * 3 // 4), Image.Resampling.BICUBIC).save(out, "JPEG", quality=85)
    return out.getvalue()


def decoding(photos: Sequence[bytes], bundle: Bundle, options: Options) -> list[dict[str, Any]]:
    """One photo at a time on one thread: decode in full, decode scaled, and all of preprocessing."""
    params = bundle.preprocess
    rows = []
    for side in options.sides:
        files = [resized(photo, side) for photo in photos[:_DECODED]]
        steps: dict[str, Callable[[bytes], object]] = {
            "decode in full": decode_image,
            "decode with DCT scaling": lambda data: decode_image(data, min_side=2 * params.size),
            "decode with DCT scaling, fit, normalise": lambda data: preprocess(data, params),
        }
        for name, step in steps.items():
            rows.append(
                {"photo": f"JPEG {side} x {side * 3 // 4}", "step": name, **_each(step, files, options)}
            )
        image = decode_image(files[0], min_side=2 * params.size)
        calls = Calls(1)
        calls.run(lambda image=image: to_tensor(fit_square(image, params), params), options.seconds)  # type: ignore[misc]
        rows.append({"photo": f"JPEG {side} x {side * 3 // 4}", "step": "fit, normalise", **calls.figures()})
    return rows


def _each(step: Callable[[bytes], object], files: Sequence[bytes], options: Options) -> dict[str, float]:
    calls = Calls(1)
    for data in files:
        calls.run(lambda data=data: step(data), options.seconds / len(files))  # type: ignore[misc]
    return calls.figures()


def inference(engines: dict[str, Encoder], images: Array, options: Options) -> list[dict[str, Any]]:
    """Every engine at every batch size, in rounds."""
    calls = {(name, batch): Calls(batch) for name in engines for batch in options.batches}
    for _ in range(options.rounds):
        for (name, batch), measured in calls.items():
            pictures = np.resize(images, (batch, *images.shape[1:]))
            measured.run(lambda e=engines[name], p=pictures: e.encode(p), options.seconds)  # type: ignore[misc]
    return [{"engine": name, "batch": batch, **done.figures()} for (name, batch), done in calls.items()]


def concurrent(client: TritonClient, images: Array, options: Options) -> list[dict[str, Any]]:
    """Single pictures from several callers at once, which Triton merges."""

    async def caller(seconds: list[float], end: float) -> None:
        while time.perf_counter() < end:
            start = time.perf_counter()
            await client.encoder.encode(images[:1])
            seconds.append(time.perf_counter() - start)

    async def at(callers: int) -> dict[str, float]:
        calls = Calls(1)
        start = time.perf_counter()
        end = start + options.seconds * options.rounds
        await asyncio.gather(*(caller(calls.seconds, end) for _ in range(callers)))
        rate = len(calls.seconds) / (time.perf_counter() - start)
        return {**calls.figures(), "images_per_second": rate}

    return [
        {"engine": "triton", "callers": callers, **client.loop.run_until_complete(at(callers))}
        for callers in (1, 2, 4, 8, 16)
    ]


def agreement(engines: dict[str, Encoder], images: Array) -> list[dict[str, Any]]:
    """Largest cosine distance of each engine's embeddings from the first engine's."""
    parts = np.array_split(images, max(1, len(images) // 8))
    rows = {
        name: np.concatenate([engine.encode(part).embedding for part in parts])
        for name, engine in engines.items()
    }
    reference = "torch f32" if "torch f32" in rows else next(iter(rows))
    return [
        {
            "engine": name,
            "against": reference,
            "photos": len(images),
            "max_cosine_distance": cosine_distance(rows[reference], found),
        }
        for name, found in rows.items()
        if name != reference
    ]


def markdown(report: dict[str, Any]) -> str:
    """The report as tables."""
    facts = report["machine"]
    parts = [f"{facts['processor']}, {facts['cores']} cores, {report['threads']} threads a batch.\n"]
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
    return f"{value:.1e}" if abs(value) < 1e-2 else f"{value:,.1f}"


def measure(bundle: Bundle, options: Options) -> dict[str, Any]:
    """Run everything; see the module."""
    facts = machine_facts()
    facts["versions"] = {name: version(name) for name in VERSIONS}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        photos = simulated_photos(max(options.agree, _DECODED if options.engines else _CALIBRATION), folder)
        images = np.stack([preprocess(photo, bundle.preprocess) for photo in photos])
        decoded = decoding(photos, bundle, options)
        engines, left_out = open_engines(
            bundle, photos[:_CALIBRATION], options.engines, options.threads, max(8, *options.batches), stack
        )
        sections: dict[str, list[dict[str, Any]]] = {
            "Decoding and preprocessing, one thread": decoded,
            "Agreement": agreement(engines, images[: options.agree]) if options.agree else [],
            "Inference": inference(engines, images[: max(options.batches)], options),
        }
        client = engines.get("triton")
        if isinstance(client, TritonClient):
            sections["Triton, single pictures from several callers"] = concurrent(client, images, options)
    return {
        "machine": facts,
        "model_version": bundle.model_version,
        "threads": options.threads or os.cpu_count(),
        "sections": sections,
        "left_out": left_out,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bundle", type=Path, required=True, help="the model bundle")
    parser.add_argument(
        "--out", type=Path, default=Path("build/bench/embedder"), help="folder for the results"
    )
    parser.add_argument("--batches", default="1,2,4,8,16,32,64", help="batch sizes")
    parser.add_argument("--seconds", type=float, default=2.0, help="per engine, batch size and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="per batch; 0: one per core")
    parser.add_argument("--agree", type=int, default=200, help="photos to compare the engines on")
    parser.add_argument("--engines", default="", help="some of the engines, by name; default: all")
    given = parser.parse_args()
    options = Options(
        batches=tuple(int(batch) for batch in given.batches.split(",")),
        seconds=given.seconds,
        rounds=given.rounds,
        threads=given.threads,
        agree=given.agree,
        engines=tuple(filter(None, (name.strip() for name in given.engines.split(";")))),
    )
    report = measure(load_bundle(given.bundle), options)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "embedder.json").write_text(json.dumps(report, indent=1) + "\n")
    (given.out / "embedder.md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
