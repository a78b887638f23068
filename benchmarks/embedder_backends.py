"""The backends that ``benchmarks.embedder`` compares, each with the same network loaded."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.local.triton import TritonServer, is_installed
from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import Bundle
from embedder.encoder import Encoded, Encoder
from lookalike.errors import InvalidInputError, LookalikeError

__all__ = ["Array", "BackendOptions", "TritonClient", "backbone_of", "open_backends"]

Array = npt.NDArray[np.float32]

_BACKBONE_CHOICES = ("input_size", "fit", "crop_to_object", "mirror", "pooling", "feature_stages")


@dataclass(frozen=True)
class BackendOptions:
    """How backends run.

    Attributes:
        threads: CPU threads of a batch; 0 takes one per core.
        max_batch: Pictures of the largest batch.
        weights: The backbone's weights, where they are not those that its name stands for.
    """

    threads: int
    max_batch: int
    weights: Path | None = None


class TritonClient:
    """Triton as a backend that answers one call at a time; its event loop runs only within a call."""

    def __init__(self, bundle: Bundle, url: str, *, shared_memory: bool, max_batch: int) -> None:
        from embedder.metrics import TritonMetrics
        from embedder.triton.client import TritonEncoder, TritonTarget
        from lookalike.runtime.metrics import Metrics

        self.loop = asyncio.new_event_loop()
        target = TritonTarget(url, "lookalike", shared_memory=shared_memory, max_batch=max_batch)

        async def connect() -> TritonEncoder:
            encoder = TritonEncoder(bundle, target, TritonMetrics(Metrics()))
            await encoder.open()
            return encoder

        self.encoder = self.loop.run_until_complete(connect())

    def encode(self, images: Array) -> Encoded:
        return self.loop.run_until_complete(self.encoder.encode(images))

    def close(self) -> None:
        self.loop.run_until_complete(self.encoder.close())
        self.loop.close()


class _OnnxOnGpu:
    """A bundle in ONNX Runtime's CUDA provider, in float32 without TF32."""

    def __init__(self, bundle: Bundle) -> None:
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise ModuleNotFoundError("this onnxruntime has no CUDA; install onnxruntime-gpu")
        providers = [("CUDAExecutionProvider", {"use_tf32": "0"})]
        self._session = onnxruntime.InferenceSession(str(bundle.network_path), providers=providers)
        if self._session.get_providers()[0] != "CUDAExecutionProvider":
            raise OSError("ONNX Runtime cannot use the GPU")

    def encode(self, images: Array) -> Encoded:
        (embedding,) = self._session.run(["embedding"], {"images": images})
        return Encoded(embedding)


def backbone_of(bundle: Bundle, weights: Path | None) -> Any:
    """Build the backbone that a bundle names once more.

    Raises:
        InvalidInputError: It names none, or one with other weights.
    """
    from embedder.model.backbone import BackboneSpec, load_backbone

    provenance = bundle.manifest.provenance
    if "architecture" not in provenance:
        raise InvalidInputError("the bundle does not name its backbone")
    made_with = provenance.get("settings", provenance)
    chosen = {name: made_with[name] for name in _BACKBONE_CHOICES if name in made_with}
    backbone = load_backbone(BackboneSpec(provenance["architecture"], weights, **chosen))
    if backbone.weights_sha256 != provenance.get("weights_sha256"):
        raise InvalidInputError("the backbone's weights are others; name them with --backbone-weights")
    return backbone


def open_backends(
    bundle: Bundle,
    photos: Sequence[bytes],
    wanted: Sequence[str],
    options: BackendOptions,
    stack: ExitStack,
) -> tuple[dict[str, Encoder], dict[str, str]]:
    """Load the network into every backend that is wanted; also returns why others were left out."""
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    makers = {
        **_in_process(bundle, photos, options, scratch),
        **_torch(bundle, options),
        **_triton(bundle, options, stack, scratch),
    }
    backends: dict[str, Encoder] = {}
    left_out: dict[str, str] = {}
    for name in wanted or makers:
        try:
            backends[name] = makers[name]()
        except (ImportError, OSError, LookalikeError) as error:
            left_out[name] = str(error)
    return backends, left_out


def _in_process(
    bundle: Bundle, photos: Sequence[bytes], options: BackendOptions, scratch: Path
) -> dict[str, Callable[[], Encoder]]:
    def int8() -> Encoder:
        from embedder.quantise import quantise

        files = []
        for number, photo in enumerate(photos):
            files.append(scratch / f"{number}.jpg")
            files[-1].write_bytes(photo)
        return OnnxEncoder(quantise(bundle, scratch / "int8", files)[0], options.threads)

    def openvino(precision: Any) -> Encoder:
        from embedder.backends.openvino import OpenVinoEncoder

        return OpenVinoEncoder(bundle, options.threads, precision)

    return {
        "onnxruntime f32": lambda: OnnxEncoder(bundle, options.threads),
        "onnxruntime int8": int8,
        "openvino f32": lambda: openvino("f32"),
        "openvino bf16": lambda: openvino("bf16"),
        "onnxruntime cuda": lambda: _OnnxOnGpu(bundle),
    }


def _torch(bundle: Bundle, options: BackendOptions) -> dict[str, Callable[[], Encoder]]:
    def eager() -> Encoder:
        import torch

        from embedder.training.torch_encoder import TorchEncoder

        if bundle.manifest.provenance.get("kind") != "backbone":
            raise InvalidInputError(
                "a trained head is nowhere but in its bundle; see the section on training"
            )
        torch.set_num_threads(options.threads or os.cpu_count() or 1)
        backbone = backbone_of(bundle, options.weights)
        return TorchEncoder(backbone.module, torch.device("cpu"), mirror=backbone.mirror)

    def on_gpu() -> Encoder:
        import torch

        from benchmarks.embedder_gpu import in_bfloat16
        from embedder.training.torch_encoder import TorchEncoder

        if not torch.cuda.is_available():
            raise OSError("there is no GPU")
        backbone = backbone_of(bundle, options.weights)
        return TorchEncoder(in_bfloat16(backbone.module), torch.device("cuda"), mirror=backbone.mirror)

    return {"torch f32": eager, "torch cuda bf16": on_gpu}


def _triton(
    bundle: Bundle, options: BackendOptions, stack: ExitStack, scratch: Path
) -> dict[str, Callable[[], Encoder]]:
    servers: list[TritonServer] = []

    def server() -> TritonServer:
        from embedder.triton.repository import RepositoryOptions, write_version

        if not is_installed():
            raise FileNotFoundError("Triton is not installed; `make triton-install` does it")
        started = TritonServer(scratch)
        run_as = RepositoryOptions("python", threads=options.threads, max_batch=options.max_batch)
        write_version(started.repository, bundle, run_as)
        stack.callback(started.stop)
        started.start("lookalike")
        return started

    def client(shared_memory: bool) -> Encoder:
        if not servers:
            servers.append(server())
        opened = TritonClient(
            bundle, servers[0].url, shared_memory=shared_memory, max_batch=options.max_batch
        )
        stack.callback(opened.close)
        return opened

    return {"triton": lambda: client(False), "triton, shared memory": lambda: client(True)}
