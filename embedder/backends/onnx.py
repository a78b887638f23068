"""ONNX Runtime on the CPU, in process."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnxruntime

from embedder.bundle import Bundle
from embedder.encoder import Encoded, check_batch, check_signature
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
        self._outputs = list(bundle.outputs)
        self._shape = (3, bundle.preprocess.size, bundle.preprocess.size)
        check_signature(
            bundle.path,
            {node.name for node in self._session.get_inputs()},
            {node.name: node.shape[-1] for node in self._session.get_outputs()},
            bundle.outputs,
        )

    def encode(self, images: npt.NDArray[np.float32]) -> Encoded:
        """See :meth:`embedder.encoder.Encoder.encode`."""
        check_batch(images, self._shape)
        embedding, *probabilities = self._session.run(self._outputs, {"images": images})
        return Encoded(embedding, tuple(probabilities))
