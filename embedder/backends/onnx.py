"""ONNX Runtime on the CPU, in process."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnxruntime

from embedder.backends.base import Encoded
from embedder.bundle import Bundle
from lookalike.errors import InvalidInputError, Reason

_ERRORS_ONLY = 3


class OnnxEncoder:
    """A model bundle in an ONNX Runtime session.

    Args:
        bundle: The verified bundle.
        threads: Threads that share the work of one batch; 0 takes one per core.

    Raises:
        InvalidInputError: The network is damaged or its inputs and outputs are not the bundle's.
    """

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # Spinning threads steal the cores from whoever shares them: measured 2x slower under other load.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(bundle.network_path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime raises untyped errors of its own
            raise InvalidInputError(
                f"{bundle.path} holds a network that ONNX Runtime cannot load; export or train it again",
                reason=Reason.BUNDLE_INVALID,
            ) from error
        self._outputs = ["embedding", *bundle.levels]
        self._shape = (3, bundle.preprocess.size, bundle.preprocess.size)
        self._check_signature(bundle)

    def encode(self, images: npt.NDArray[np.float32]) -> Encoded:
        """See :meth:`embedder.backends.base.Encoder.encode`."""
        if (
            images.ndim != 4
            or images.shape[0] < 1
            or images.shape[1:] != self._shape
            or images.dtype != np.float32
        ):
            raise InvalidInputError(
                f"the batch must be (B, {', '.join(map(str, self._shape))}) float32 with B >= 1",
                reason=Reason.DIMENSION_MISMATCH,
            )
        embedding, *probabilities = self._session.run(self._outputs, {"images": images})
        return Encoded(embedding, tuple(probabilities))

    def _check_signature(self, bundle: Bundle) -> None:
        inputs = {node.name for node in self._session.get_inputs()}
        widths = {node.name: node.shape[-1] for node in self._session.get_outputs()}
        expected = dict(zip(self._outputs, (bundle.dim, *bundle.taxonomy.sizes), strict=True))
        if inputs != {"images"} or widths != expected:
            raise InvalidInputError(
                f"{bundle.path} describes another network than it holds; export or train it again",
                reason=Reason.BUNDLE_INVALID,
            )
