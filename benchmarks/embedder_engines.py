"""The engines that ``benchmarks.embedder`` compares, each with the same network loaded."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.backends.base import Encoder
from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import Bundle
from lookalike.errors import LookalikeError

__all__ = ["Array", "TritonClient", "open_engines"]

Array = npt.NDArray[np.float32]

ROOT = Path(__file__).resolve().parents[1]


class TorchEncoder:
    """The network that a backbone's bundle was exported from, in eager mode."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        import torch

        from embedder.model.backbone import BackboneSpec, load_backbone
        from embedder.model.network import EmbeddingNetwork

        if bundle.manifest.provenance.get("kind") != "backbone":
            raise ModuleNotFoundError("only backbones can be built again from their name")
        torch.set_num_threads(threads or os.cpu_count() or 1)
        self._torch = torch
        self._network = EmbeddingNetwork(load_backbone(BackboneSpec()).module).eval()

    def encode(self, images: Array) -> Any:
        from embedder.backends.base import Encoded

        with self._torch.inference_mode():
            return Encoded(self._network(self._torch.from_numpy(images))[0].numpy())


class TritonClient:
    """Triton as an engine that answers one call at a time; its event loop runs only within a call."""

    def __init__(self, bundle: Bundle, url: str, *, shared_memory: bool, max_batch: int) -> None:
        from embedder.backends.triton import TritonEncoder, TritonTarget
        from embedder.stage_metrics import TritonMetrics
        from lookalike.runtime.metrics import Metrics

        self.loop = asyncio.new_event_loop()
        target = TritonTarget(url, "lookalike", shared_memory=shared_memory, max_batch=max_batch)

        async def connect() -> TritonEncoder:
            encoder = TritonEncoder(bundle, target, TritonMetrics(Metrics()))
            await encoder.open()
            return encoder

        self.encoder = self.loop.run_until_complete(connect())

    def encode(self, images: Array) -> Any:
        return self.loop.run_until_complete(self.encoder.encode(images))

    def close(self) -> None:
        self.loop.run_until_complete(self.encoder.close())
        self.loop.close()


@contextmanager
def tritonserver(bundle: Bundle, threads: int, max_batch: int, scratch: Path) -> Iterator[str]:
    """Serve a bundle with a real Triton on free ports; yields its gRPC address."""
    from embedder.triton.repository import RepositoryOptions, write_version

    if not (ROOT / "build" / "triton" / "installed").exists():
        raise FileNotFoundError("Triton is not installed; `make triton-install` does it")
    kind = RepositoryOptions("python", threads=threads, max_batch=max_batch)
    write_version(scratch, bundle, kind)
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [str(one.getsockname()[1]) for one in sockets]
    names = ("TRITON_GRPC_PORT", "TRITON_HTTP_PORT", "TRITON_METRICS_PORT")
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(ROOT / "deploy/triton/serve.sh"), str(scratch), "--load-model=lookalike"],
            env={**os.environ, **dict(zip(names, ports, strict=True))},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"127.0.0.1:{ports[0]}"
    try:
        _wait_for(bundle, url)
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_for(bundle: Bundle, url: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            TritonClient(bundle, url, shared_memory=False, max_batch=1).close()
            return
        except LookalikeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def open_engines(
    bundle: Bundle,
    photos: Sequence[bytes],
    wanted: Sequence[str],
    threads: int,
    max_batch: int,
    stack: ExitStack,
) -> tuple[dict[str, Encoder], dict[str, str]]:
    """Load the network into every engine that is wanted; also returns why others were left out."""
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    makers = _makers(bundle, photos, threads, max_batch, stack, scratch)
    engines: dict[str, Encoder] = {}
    left_out: dict[str, str] = {}
    for name in wanted or makers:
        try:
            engines[name] = makers[name]()
        except (ImportError, OSError, LookalikeError) as error:
            left_out[name] = str(error)
    return engines, left_out


def _makers(
    bundle: Bundle, photos: Sequence[bytes], threads: int, max_batch: int, stack: ExitStack, scratch: Path
) -> dict[str, Callable[[], Encoder]]:
    def int8() -> Encoder:
        from embedder.quantise import quantise

        files = []
        for number, photo in enumerate(photos):
            files.append(scratch / f"{number}.jpg")
            files[-1].write_bytes(photo)
        return OnnxEncoder(quantise(bundle, scratch / "int8", files)[0], threads)

    def openvino(precision: Any) -> Encoder:
        from embedder.backends.openvino import OpenVinoEncoder

        return OpenVinoEncoder(bundle, threads, precision)

    url: list[str] = []

    def triton(shared_memory: bool) -> Encoder:
        if not url:
            (scratch / "repository").mkdir()
            url.append(stack.enter_context(tritonserver(bundle, threads, max_batch, scratch / "repository")))
        client = TritonClient(bundle, url[0], shared_memory=shared_memory, max_batch=max_batch)
        stack.callback(client.close)
        return client

    return {
        "onnxruntime f32": lambda: OnnxEncoder(bundle, threads),
        "onnxruntime int8": int8,
        "openvino f32": lambda: openvino("f32"),
        "openvino bf16": lambda: openvino("bf16"),
        "torch f32": lambda: TorchEncoder(bundle, threads),
        "triton": lambda: triton(False),
        "triton, shared memory": lambda: triton(True),
    }
