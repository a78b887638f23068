"""The model of Triton's Python backend: runs ``model.onnx`` next to it through ONNX Runtime.

Of this project, Triton sees no other file. It needs numpy < 2 (the backend's tensors come out empty with
numpy 2) and onnxruntime in the environment of the Python that Triton starts, 3.10 or later.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

_ERRORS_ONLY = 3


class TritonPythonModel:
    """One instance of one version of the model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the network; called once by Triton, before the warm-up."""
        if int(np.__version__.split(".")[0]) >= 2:
            raise pb_utils.TritonModelException(
                f"numpy {np.__version__} is installed; Triton's Python backend needs numpy < 2"
            )
        config = json.loads(args["model_config"])
        options = onnxruntime.SessionOptions()
        threads = config["parameters"].get("intra_op_thread_count", {})
        options.intra_op_num_threads = int(threads.get("string_value", "0"))
        options.log_severity_level = _ERRORS_ONLY
        # Spinning threads steal the cores from whoever shares them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        provider, settings = "CPUExecutionProvider", {}
        if args["model_instance_kind"] == "GPU":
            provider = "CUDAExecutionProvider"
            settings = {"device_id": args["model_instance_device_id"], "use_tf32": "0"}
        network = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = onnxruntime.InferenceSession(str(network), options, providers=[(provider, settings)])
        if self._session.get_providers()[0] != provider:
            raise pb_utils.TritonModelException(
                "this onnxruntime cannot use the GPU; install onnxruntime-gpu"
            )
        self._outputs = [output["name"] for output in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers the requests that Triton has merged, in one run of the network."""
        batches = [pb_utils.get_input_tensor_by_name(request, "images").as_numpy() for request in requests]
        images = batches[0] if len(batches) == 1 else np.concatenate(batches)
        try:
            arrays = self._session.run(self._outputs, {"images": images})
        except Exception as error:  # the runtime raises untyped errors of its own
            failure = pb_utils.TritonError(f"the network cannot encode this batch: {error}")
            return [pb_utils.InferenceResponse([], failure) for _ in requests]
        results = dict(zip(self._outputs, arrays, strict=True))
        ends = np.cumsum([len(batch) for batch in batches]).tolist()
        return [
            _response(request, {name: array[start:end] for name, array in results.items()})
            for request, start, end in zip(requests, [0, *ends[:-1]], ends, strict=True)
        ]


def _response(request: Any, results: dict[str, Any]) -> Any:
    wanted = request.requested_output_names()
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, np.ascontiguousarray(results[name])) for name in results if name in wanted]
    )
