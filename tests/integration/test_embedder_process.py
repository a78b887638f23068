"""A real ``python -m embedder`` process, called over gRPC with photos of every kind."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.process import ROOT, ServiceProcess
from embedder.bundle import write_bundle
from embedder.model.taxonomy import Taxonomy
from embedder.preprocess import PreprocessParams
from lookalike.errors import Reason
from lookalike.v1 import embedder_pb2, embedder_pb2_grpc, types_pb2
from lookalike.wire.channel import channel_options
from lookalike.wire.status import error_from_status

SERVICE = "lookalike.v1.EmbedderService"
SAME_PICTURE = 0.998
OTHER_PICTURE = 0.95
MEMORY_GROWTH_BYTES = 300 << 20
DECODING_GROWTH_BYTES = 1 << 30


class Running(ServiceProcess):
    """``python -m embedder``, serving."""

    channel: grpc.Channel

    @property
    def stub(self) -> embedder_pb2_grpc.EmbedderServiceStub:
        return embedder_pb2_grpc.EmbedderServiceStub(self.channel)

    def is_serving(self) -> bool:
        stub = health_pb2_grpc.HealthStub(self.channel)
        status = stub.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=10).status
        return bool(status == health_pb2.HealthCheckResponse.SERVING)

    def peak_memory_bytes(self) -> int:
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


@contextmanager
def serving(bundle: Path, scratch: Path, *flags: object) -> Iterator[Running]:
    running = Running("embedder", scratch, "--bundle", bundle, *flags)
    running.start()
    try:
        running.wait_until_listening()
        with grpc.insecure_channel(running.target, options=channel_options()) as running.channel:
            running.wait_until(running.is_serving)
            yield running
    finally:
        if running.is_running():
            running.kill()


@pytest.fixture(scope="module")
def embedder(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tiny_bundle, tmp_path_factory.mktemp("embedder"), "--threads", 1) as running:
        yield running


def embed(embedder: Running, *contents: bytes) -> list[embedder_pb2.EmbedResult]:
    request = embedder_pb2.EmbedRequest(images=[types_pb2.Image(content=content) for content in contents])
    return list(embedder.stub.Embed(request, timeout=60).results)


def test_every_kind_of_photo_gets_the_right_outcome(embedder: Running, photo_cases: dict[str, Any]) -> None:
    before = embedder.peak_memory_bytes()
    outcomes: dict[str, Reason | None] = {}
    found: dict[str, np.ndarray] = {}
    for name, case in photo_cases.items():
        (result,) = embed(embedder, case.content)
        if result.WhichOneof("outcome") == "embedded":
            outcomes[name] = None
            found[name] = np.frombuffer(result.embedded.vector_f32_le, dtype="<f4")
        else:
            assert result.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
            outcomes[name] = error_from_status(result.error).reason
    assert outcomes == {name: case.refused for name, case in photo_cases.items()}
    for name, vector in found.items():
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5), name
        if like := photo_cases[name].like:
            assert float(vector @ found[like]) > SAME_PICTURE, f"{name} must look like {like}"
    for different in ("mirrored png", "grey png", "cut-out on white", "palette on white"):
        assert float(found["png"] @ found[different]) < OTHER_PICTURE, different
    assert embedder.peak_memory_bytes() - before < MEMORY_GROWTH_BYTES


def test_many_large_photos_at_once_take_no_more_than_the_budget(tiny_bundle: Path, tmp_path: Path) -> None:
    """Of eight decoders two are at work at the same time: 8 photos of 25 megapixels took 3 GiB otherwise."""
    out = io.BytesIO()
    Image.new("RGBA", (5_000, 5_000), 7).save(out, "PNG", compress_level=1)
    with serving(tiny_bundle, tmp_path, "--threads", 1, "--preprocess-workers", 8) as running:
        before = running.peak_memory_bytes()
        results = embed(running, *[out.getvalue()] * 8)
        assert [result.WhichOneof("outcome") for result in results] == ["embedded"] * 8
        assert running.peak_memory_bytes() - before < DECODING_GROWTH_BYTES


def test_bad_photos_do_not_harm_the_good_ones_next_to_them(
    embedder: Running, photo_cases: dict[str, Any]
) -> None:
    cases = [case for name, case in photo_cases.items() if name != "large file"]
    together = embed(embedder, *(case.content for case in cases))
    assert len(together) == len(cases)
    for case, result in zip(cases, together, strict=True):
        assert (result.WhichOneof("outcome") == "embedded") is (case.refused is None)


def test_messages_never_show_the_servers_paths(embedder: Running, photo_cases: dict[str, Any]) -> None:
    for case in photo_cases.values():
        if case.refused is not None:
            (result,) = embed(embedder, case.content)
            assert "/" not in result.error.message.replace("HEIC/HEIF", "")
            assert "Error" not in result.error.message


def test_metrics_are_served(embedder: Running, photo_cases: dict[str, Any]) -> None:
    embed(embedder, photo_cases["png"].content, photo_cases["text"].content)
    with urllib.request.urlopen(f"http://127.0.0.1:{embedder.metrics_port}/metrics", timeout=10) as reply:
        families = {family.name: family for family in text_string_to_metric_families(reply.read().decode())}
    stages = {sample.labels["stage"] for sample in families["lookalike_embedder_stage_seconds"].samples}
    assert stages == {"preprocess", "queue", "encode"}
    photos = {
        sample.labels["result"]: sample.value
        for sample in families["lookalike_embedder_images"].samples
        if sample.name.endswith("_total")
    }
    assert photos["ok"] >= 1
    assert photos["rejected"] >= 1
    assert families["lookalike_embedder_queue_photos"].samples[0].value == 0
    assert "lookalike_embedder_batch_photos" in families


def test_sigterm_stops_it_cleanly(tiny_bundle: Path, tmp_path: Path) -> None:
    with serving(tiny_bundle, tmp_path) as running:
        assert running.stop(signal.SIGTERM) == 0
    assert json.loads(running.said().splitlines()[-1])["event"] == "stopped"
    assert running.events("model_loaded")


def refusal(*arguments: object, **environment: str) -> str:
    """What a process that cannot start says, after its exit code was found to be 2."""
    ended = subprocess.run(
        [sys.executable, "-m", "embedder", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    return ended.stderr


def test_bad_settings_are_refused_wherever_they_come_from(tiny_bundle: Path, tmp_path: Path) -> None:
    config = tmp_path / "lookalike.toml"
    config.write_text(f'[embedder]\nbundle = "{tiny_bundle}"\nmax_batch = 0\n')
    for said in (
        refusal("--config", config),
        refusal("--bundle", tiny_bundle, LOOKALIKE_EMBEDDER_MAX_BATCH="-1"),
        refusal("--bundle", tiny_bundle, "--max-batch", "many"),
    ):
        assert "max_batch" in said
        assert said.count("\n") == 1


def _missing(bundle: Path) -> None:
    shutil.rmtree(bundle)


def _damaged(bundle: Path) -> None:
    network = bundle / "model.onnx"
    network.write_bytes(network.read_bytes()[:-1])


def _edited(bundle: Path) -> None:
    manifest = bundle / "bundle.json"
    manifest.write_text(manifest.read_text().replace("running", "walking"))


def _no_json(bundle: Path) -> None:
    (bundle / "bundle.json").write_text("not JSON")


@pytest.mark.parametrize("harm", [_missing, _damaged, _edited, _no_json])
def test_a_bad_bundle_is_one_clear_line_and_exit_code_2(
    harm: Callable[[Path], None], tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    harm(bundle)
    said = refusal("--bundle", bundle, "--port", 0, "--metrics-port", -1)
    assert said.count("\n") == 1
    assert "is not a valid model bundle" in said


@pytest.mark.parametrize(("backend", "engine"), [("onnx", "ONNX Runtime"), ("openvino", "OpenVINO")])
def test_a_network_that_cannot_be_loaded_is_exit_code_2(backend: str, engine: str, tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"no network" * 100)
    bundle = write_bundle(
        tmp_path / "bundle",
        tmp_path / "garbage",
        dim=16,
        taxonomy=Taxonomy(),
        preprocess=PreprocessParams(),
        provenance={},
        metrics={},
    )
    address = ("--port", 0, "--metrics-port", -1, "--drain-wait-seconds", 0)
    said = refusal("--bundle", bundle.path, "--backend", backend, *address)
    assert f"{engine} cannot load" in said.splitlines()[-1]
    assert "Traceback" not in said


def test_a_taken_port_is_exit_code_2(embedder: Running, tiny_bundle: Path) -> None:
    taken = embedder.metrics_port
    said = refusal("--bundle", tiny_bundle, "--port", taken, "--metrics-port", -1)
    assert f"cannot listen on 127.0.0.1:{taken}" in said
