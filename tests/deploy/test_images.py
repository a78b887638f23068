"""The built images start as on a node, hold what they should, and answer a search by photo together."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.container import USER, Container, Image, Mount, missing, version
from deploy.local.process import ROOT, free_ports
from deploy.local.triton import TritonServer
from embedder.bundle import load_bundle
from embedder.triton.repository import RepositoryOptions, write_version
from lookalike import synth
from lookalike.catalogue.catalog import read_catalog
from lookalike.client import Client, Item

SERVICES = ("gateway", "hasher", "embedder")
BUNDLE = ROOT / "build" / "bundles" / "efficientnet-lite0"
SEARCH = "lookalike.v1.SearchService"
START_SECONDS = 60.0
# Building them takes minutes, so `make test` leaves them out; CI runs them after it.
pytestmark = pytest.mark.skipif(
    os.environ.get("LOOKALIKE_IMAGES_TEST") != "1",
    reason="`make images images-test` builds the images and runs this",
)


@pytest.fixture(scope="module")
def images() -> Iterator[dict[str, Image]]:
    assert not missing(SERVICES), missing(SERVICES)
    unpacked = {service: Image(f"lookalike-{service}") for service in SERVICES}
    yield unpacked
    for image in unpacked.values():
        image.close()


class Stack:
    """The three images as containers; each keeps to its own folder of data."""

    def __init__(self, images: dict[str, Image], folder: Path, **more: str) -> None:
        self.ports = dict(zip(SERVICES, free_ports(3), strict=True))
        others = more | {
            "LOOKALIKE_GATEWAY_EMBEDDER": self.address("embedder"),
            "LOOKALIKE_GATEWAY_HASHERS": self.address("hasher"),
        }
        self.containers = {}
        for service in SERVICES:
            prefix = f"LOOKALIKE_{service.upper()}"
            settings = {
                f"{prefix}_INSECURE": "true",
                f"{prefix}_PORT": str(self.ports[service]),
                f"{prefix}_METRICS_PORT": "0",
            } | {name: value for name, value in others.items() if name.startswith(prefix)}
            self.containers[service] = Container(
                images[service], folder / service, settings, [self._mount(service, folder)]
            )

    def address(self, service: str) -> str:
        return f"127.0.0.1:{self.ports[service]}"

    def probe(self, service: str) -> tuple[int, str]:
        """Asks for health inside the container, as Compose does."""
        done = self.containers[service].execute(
            "python", "-m", "lookalike.runtime.probe", self.address(service)
        )
        return done.returncode, done.stdout + done.stderr

    def wait_until_serving(self, service: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        container = self.containers[service]
        while self.probe(service)[0]:
            assert container.is_running(), container.said()
            assert time.monotonic() < deadline, container.said()
            time.sleep(0.2)

    @staticmethod
    def _mount(service: str, folder: Path) -> Mount:
        if service == "embedder":
            return Mount(BUNDLE.resolve(), "/bundle")
        data = folder / f"{service}-data"
        data.mkdir()
        os.chown(data, USER, USER)
        return Mount(data, "/data", writable=True)


@pytest.fixture(scope="module")
def stack(images: dict[str, Image], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(images, tmp_path_factory.mktemp("images"))
    try:
        for container in running.containers.values():
            container.start()
        for service in SERVICES:
            running.wait_until_serving(service)
        yield running
    finally:
        for container in running.containers.values():
            container.close()


def test_a_photo_finds_its_product_through_the_three_images(stack: Stack, tmp_path: Path) -> None:
    catalog = read_catalog(synth.generate(tmp_path, products=8, views=2, seed=5))
    rows = catalog.index_items()
    with Client(stack.address("gateway"), timeout_seconds=60) as client:
        client.create_collection("shop")
        items = [Item(item_id=row.item_id, product_id=row.product_id, image=row.image_path) for row in rows]
        assert client.ingest(items, collection="shop").acknowledged_count == len(items)
        result = client.search(image=rows[0].image_path, k=3, collection="shop")
    assert result.hits[0].item_id == rows[0].item_id
    assert result.hits[0].score == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("service", SERVICES)
def test_health_is_answered_inside(stack: Stack, service: str) -> None:
    assert stack.probe(service) == (0, f"{stack.address(service)} is SERVING\n")


@pytest.mark.parametrize("service", SERVICES)
def test_it_runs_without_rights(stack: Stack, service: str) -> None:
    container = stack.containers[service]
    assert (
        container.execute("id").stdout
        == f"uid={USER}(lookalike) gid={USER}(lookalike) groups={USER}(lookalike)\n"
    )
    assert "Read-only file system" in container.execute("touch", "/opt/x").stderr
    assert container.execute("touch", "/tmp/x").returncode == 0
    owned = container.execute("find", "/", "-xdev", "-user", str(USER), "!", "-path", "/data*")
    assert owned.stdout == ""


@pytest.mark.parametrize("service", SERVICES)
def test_sigterm_ends_it_in_good_order(images: dict[str, Image], tmp_path: Path, service: str) -> None:
    alone = Stack(images, tmp_path).containers[service]
    try:
        alone.start()
        alone.wait_until(lambda: '"event": "serving"' in alone.said())
        assert alone.stop() == 0
        assert '"event": "stopped"' in alone.said()
    finally:
        alone.close()


@pytest.fixture
def triton(triton_installed: None, tmp_path: Path) -> Iterator[TritonServer]:
    """A real Triton with the default model, outside of containers."""
    server = TritonServer(tmp_path)
    options = RepositoryOptions(backend="python", model="lookalike", threads=1, max_batch=2)
    write_version(server.repository, load_bundle(BUNDLE), options)
    try:
        server.start("lookalike")
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("backend", ["onnx", "openvino", "triton"])
def test_the_embedder_reproduces_the_golden_images_with_every_backend(
    images: dict[str, Image], tmp_path: Path, backend: str, request: pytest.FixtureRequest
) -> None:
    settings = {"LOOKALIKE_EMBEDDER_BACKEND": backend}
    if backend == "triton":
        settings["LOOKALIKE_EMBEDDER_TRITON_URL"] = request.getfixturevalue("triton").url
    folder = tmp_path / "containers"
    folder.mkdir()
    alone = Stack(images, folder, **settings)
    embedder = alone.containers["embedder"]
    try:
        embedder.start()
        alone.wait_until_serving("embedder")
    finally:
        embedder.close()


def test_the_command_works_inside(stack: Stack) -> None:
    gateway = stack.containers["gateway"]
    address = stack.address("gateway")
    created = gateway.execute("lookalike", "collection", "create", "shoes", "--gateway", address)
    assert created.returncode == 0, created.stderr
    refused = gateway.execute("lookalike", "synth", "--out", "/tmp/photos")
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: this command needs the package cv2; install lookalike[synth]\n",
    )


def test_an_image_asks_before_it_serves_the_network(images: dict[str, Image], tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, USER, USER)
    container = Container(images["hasher"], tmp_path / "hasher", {}, [Mount(data, "/data", writable=True)])
    try:
        assert container.start().wait() == 2
        assert "the setting insecure" in container.said()
    finally:
        container.close()


def _site(image: Image) -> Path:
    (site,) = image.root.glob("opt/lookalike/lib/python3*/site-packages")
    return site


@pytest.mark.parametrize("service", ["gateway", "hasher"])
def test_only_the_embedder_holds_what_runs_networks(images: dict[str, Image], service: str) -> None:
    absent = ("torch", "onnxruntime", "openvino", "tritonclient", "cv2", "PIL", "pip")
    assert not [name for name in absent if (_site(images[service]) / name).exists()]


def test_the_embedder_holds_neither_training_nor_simulator(images: dict[str, Image]) -> None:
    site = _site(images["embedder"])
    assert not [name for name in ("torch", "timm", "lightning", "cv2", "pip") if (site / name).exists()]
    assert (site / "onnxruntime").is_dir()
    assert (site / "openvino").is_dir()


def test_the_gateways_image_stays_below_250_megabytes() -> None:
    assert (ROOT / "build" / "images" / "lookalike-gateway.tar").stat().st_size < 250e6


@pytest.mark.parametrize("service", SERVICES)
def test_the_list_of_parts_names_each_installed_package(images: dict[str, Image], service: str) -> None:
    root = images[service].root
    bom = json.loads((root / "opt/lookalike/sbom.cdx.json").read_text())
    assert bom["metadata"]["component"]["name"] == f"lookalike-{service}"
    purls = {part["purl"].partition("?")[0] for part in bom["components"]}
    assert f"pkg:pypi/lookalike@{version()}" in purls
    listed = {purl.split("/")[-1].partition("@")[0] for purl in purls if purl.startswith("pkg:pypi/")}
    installed = {path.name.split("-")[0] for path in _site(images[service]).glob("*.dist-info")}
    assert {name.lower().replace("_", "-") for name in installed} == listed
    status = (root / "var/lib/dpkg/status").read_text()
    assert status.count("Status: install ok installed") == sum(
        purl.startswith("pkg:deb/debian/") for purl in purls
    )
    assert any(purl.startswith("pkg:cargo/rayon@") for purl in purls)


@pytest.mark.parametrize("service", SERVICES)
def test_labels_say_what_it_is(images: dict[str, Image], service: str) -> None:
    labels = images[service].config["Labels"]
    assert labels["org.opencontainers.image.title"] == f"lookalike-{service}"
    assert labels["org.opencontainers.image.version"] == version()
    assert len(labels["org.opencontainers.image.revision"]) == 40
