"""OpenVINO on the CPU, in process.

On processors with AMX or AVX512_BF16 it can compute in bfloat16: rows are brought to unit norm in float32 and
stay within :data:`BF16_TOLERANCE` of the float32 network's.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Mapping
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from embedder.bundle import Bundle
from embedder.encoder import Encoded, check_batch, check_signature
from embedder.golden import FLOAT32_TOLERANCE
from lookalike.errors import InvalidInputError, Reason

# OpenVINO's package reports its use over the network, from a forked process, unless this one is missing.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino  # noqa: E402

Precision = Literal["auto", "f32", "bf16"]

BF16_TOLERANCE = 1e-2
"""Measured: up to 3e-3 with EfficientNet-Lite0, where a wrong preprocessing makes 1e-1."""
_TRIALS = 5
_MIN_GAIN = 1.1
_MIN_GAIN_SECONDS = 1e-4
"""A network that is done in less has nothing to gain, and its times are mostly noise."""


class OpenVinoEncoder:
    """A model bundle compiled by OpenVINO.

    Args:
        bundle: The verified bundle.
        threads: Threads that share the work of one batch; 0 takes one per core.
        precision: ``bf16`` computes in bfloat16, ``f32`` in float32; ``auto`` takes bfloat16 where the
            processor has it, a single picture is encoded at least a tenth and 0.1 ms faster, and the bundle's
            golden images come out within :data:`BF16_TOLERANCE`.

    Attributes:
        precision: The one in use.
        tolerance: Cosine distance that its results may have from the float32 network's.

    Raises:
        InvalidInputError: The network is damaged or its inputs and outputs are not the bundle's, or the
            processor cannot compute in bfloat16.
    """

    def __init__(self, bundle: Bundle, threads: int = 0, precision: Precision = "auto") -> None:
        self._outputs = list(bundle.outputs)
        self._shape = (3, bundle.preprocess.size, bundle.preprocess.size)
        try:
            model = _core().read_model(bundle.network_path)
        except RuntimeError as error:
            raise InvalidInputError(
                f"{bundle.path} holds a network that OpenVINO cannot load; export or train it again",
                reason=Reason.BUNDLE_INVALID,
            ) from error
        check_signature(
            bundle.path,
            {port.any_name for port in model.inputs},
            {port.any_name: port.partial_shape[-1].get_length() for port in model.outputs},
            bundle.outputs,
        )
        bf16 = precision != "f32" and has_bf16()
        if precision == "bf16" and not bf16:
            raise InvalidInputError(
                "this processor cannot compute in bfloat16; set the precision to auto or f32",
                reason=Reason.CONFIG_INVALID,
            )
        names = [] if precision == "bf16" else ["f32"]
        if bf16:
            names.append("bf16")
        compiled = {name: _core().compile_model(model, "CPU", _options(name, threads)) for name in names}
        self._use(names[0], compiled)
        if len(compiled) > 1 and _is_faster(*(self._seconds(compiled[name]) for name in ("bf16", "f32"))):
            self._use("bf16", compiled)
            if not self._reproduces_golden(bundle):
                self._use("f32", compiled)

    def encode(self, images: npt.NDArray[np.float32]) -> Encoded:
        """See :meth:`embedder.encoder.Encoder.encode`."""
        check_batch(images, self._shape)
        request = getattr(self._of_thread, "request", None)
        if request is None:
            request = self._of_thread.request = self._compiled.create_infer_request()
        # The request's buffers are used again by the next call, hence the copies.
        results = request.infer({"images": images}, share_inputs=True)
        embedding, *probabilities = (np.array(results[name], dtype=np.float32) for name in self._outputs)
        if self.precision == "bf16":
            embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
        return Encoded(embedding, tuple(probabilities))

    def _use(self, precision: str, compiled: Mapping[str, openvino.CompiledModel]) -> None:
        self.precision = precision
        self.tolerance = BF16_TOLERANCE if precision == "bf16" else FLOAT32_TOLERANCE
        self._compiled = compiled[precision]
        self._of_thread = threading.local()

    def _reproduces_golden(self, bundle: Bundle) -> bool:
        golden = bundle.golden()
        if golden is None:
            return False
        pictures = golden.prepare(bundle.preprocess)
        rows = [self.encode(picture[None]).embedding for picture in pictures]
        return golden.distance(np.concatenate(rows)) <= self.tolerance

    def _seconds(self, compiled: openvino.CompiledModel) -> float:
        """Returns the median time of one picture."""
        request = compiled.create_infer_request()
        picture = np.zeros((1, *self._shape), dtype=np.float32)
        request.infer({"images": picture})
        times = []
        for _ in range(_TRIALS):
            start = time.perf_counter()
            request.infer({"images": picture})
            times.append(time.perf_counter() - start)
        return statistics.median(times)


def _is_faster(seconds: float, than_seconds: float) -> bool:
    return seconds * _MIN_GAIN < than_seconds and than_seconds - seconds > _MIN_GAIN_SECONDS


def has_bf16() -> bool:
    """Returns whether the processor can compute in bfloat16."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def _core() -> openvino.Core:
    """Returns the only one of this process.

    Each gives its thread a stack for signals and puts the previous one back when it goes. Where a first
    goes before a second, that previous one is unmapped already, and the next signal ends the process.
    """
    return openvino.Core()


def _options(precision: str, threads: int) -> dict[str, object]:
    options: dict[str, object] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    return {**options, "INFERENCE_NUM_THREADS": threads} if threads else options
