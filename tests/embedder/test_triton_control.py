"""Loading bundles into a real tritonserver, and what it serves and its repository holds where that fails."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc.aio import InferenceServerClient

from deploy.local.triton import TritonServer
from embedder.bundle import Bundle, load_bundle, write_bundle
from embedder.triton import control
from embedder.triton.repository import RepositoryOptions, changing, read_config, write_version
from lookalike.errors import FailedPreconditionError, InvalidInputError, UnavailableError

IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


def options(model: str) -> RepositoryOptions:
    return RepositoryOptions(backend="python", model=model, threads=1, max_batch=8)


async def load(triton: TritonServer, bundle: Bundle, model: str) -> None:
    await control.load(triton.repository, bundle, triton.url, options(model))


async def assert_serves(triton: TritonServer, bundle: Bundle, model: str) -> None:
    golden = bundle.golden()
    assert golden is not None
    assert await control.verify(bundle, golden, triton.url, model) <= 1e-4


def made_wrong(bundle: Bundle, out: Path) -> Bundle:
    """The same network and golden images with another preprocessing."""
    return write_bundle(
        out,
        bundle.network_path,
        dim=bundle.dim,
        taxonomy=bundle.taxonomy,
        preprocess=replace(bundle.preprocess, **IMAGENET),
        provenance={},
        metrics={},
        golden=bundle.golden(),
    )


async def ready_versions(triton: TritonServer, model: str) -> list[tuple[int, str]]:
    found = await control.versions(triton.url, model)
    return [(version.number, version.model_version) for version in found if version.state == "READY"]


async def test_a_bundle_that_fails_its_golden_images_is_taken_back(
    triton: TritonServer, make_tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    good, other = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (31, 32))
    await load(triton, good, "proof")
    wrong = made_wrong(other, tmp_path / "wrong")
    with pytest.raises(FailedPreconditionError, match="golden images come out"):
        await control.load(triton.repository, wrong, triton.url, options("proof"))
    assert await ready_versions(triton, "proof") == [(1, good.model_version)]
    assert not (triton.repository / "proof" / "2").exists()
    await assert_serves(triton, good, "proof")


async def loaded_config(triton: TritonServer, model: str) -> Any:
    async with InferenceServerClient(triton.url) as client:
        return (await client.get_model_config(model)).config


@pytest.mark.parametrize("case", ["golden", "new", "known"])
async def test_a_failed_load_with_other_options_leaves_the_models_own(
    triton: TritonServer, make_tiny_bundle: Callable[..., Path], tmp_path: Path, case: str
) -> None:
    good, other = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (33, 34))
    model = f"options-{case}"
    first = RepositoryOptions("python", model, instances=2, max_batch=8, threads=1)
    await control.load(triton.repository, good, triton.url, first)
    written, loaded = read_config(triton.repository, model), await loaded_config(triton, model)
    bundle = {"golden": made_wrong(other, tmp_path / "wrong"), "new": other, "known": good}[case]
    # There is no GPU that Triton's onnxruntime could use, so that this cannot be loaded.
    device: Any = None if case == "golden" else "gpu"
    with pytest.raises(FailedPreconditionError if case == "golden" else UnavailableError):
        await control.load(
            triton.repository,
            bundle,
            triton.url,
            RepositoryOptions(model=model, device=device, instances=1, max_batch=4),
        )
    assert read_config(triton.repository, model) == written
    assert await loaded_config(triton, model) == loaded
    assert await ready_versions(triton, model) == [(1, good.model_version)]
    await assert_serves(triton, good, model)


async def test_a_bundle_joins_a_model_as_that_is_and_leaves_alone(
    triton: TritonServer, make_tiny_bundle: Callable[..., Path]
) -> None:
    """What ``model switch`` does in Triton, next to a version that somebody else loaded and uses."""
    old, third, new = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (35, 36, 37))
    for bundle in (old, third):
        await load(triton, bundle, "joined")
    number, _ = await control.load(triton.repository, new, triton.url, RepositoryOptions(model="joined"))
    assert number == 3
    assert (await loaded_config(triton, "joined")).max_batch_size == 8
    assert await control.drop(triton.repository, "joined", old.model_version, triton.url) == [1]
    while len(await ready_versions(triton, "joined")) > 2:
        await asyncio.sleep(0.05)
    assert await ready_versions(triton, "joined") == [(2, third.model_version), (3, new.model_version)]
    written = {entry.name for entry in (triton.repository / "joined").iterdir() if entry.is_dir()}
    assert written == {"2", "3"}
    assert await control.drop(triton.repository, "joined", old.model_version, triton.url) == []


async def test_a_repository_that_triton_does_not_read_is_soon_found_out(
    triton: TritonServer, make_tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    good, other = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (38, 39))
    await load(triton, good, "elsewhere")
    with pytest.raises(InvalidInputError, match="is --triton the folder"):
        await control.load(tmp_path, other, triton.url, options("elsewhere"))
    assert not (tmp_path / "elsewhere").exists()
    shutil.copytree(triton.repository / "elsewhere", tmp_path / "elsewhere")
    with pytest.raises(InvalidInputError, match=r"Triton does not read .* is --triton the folder"):
        await control.load(tmp_path, other, triton.url, options("elsewhere"))
    assert await ready_versions(triton, "elsewhere") == [(1, good.model_version)]


async def test_nothing_is_unloaded_or_deleted_through_a_folder_that_triton_does_not_read(
    triton: TritonServer, make_tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    first, second = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (40, 41))
    for bundle in (first, second):
        await load(triton, bundle, "copied")
    shutil.copytree(triton.repository / "copied", tmp_path / "copied")
    written = read_config(tmp_path, "copied")
    with pytest.raises(InvalidInputError, match="Triton does not read"):
        await control.retire(tmp_path, "copied", 2, triton.url)
    with pytest.raises(InvalidInputError, match="Triton does not read"):
        await control.drop(tmp_path, "copied", first.model_version, triton.url)
    assert read_config(tmp_path, "copied") == written
    assert (tmp_path / "copied" / "1" / "model.onnx").exists()
    assert await ready_versions(triton, "copied") == [(1, first.model_version), (2, second.model_version)]
    assert await control.retire(triton.repository, "copied", 2, triton.url) == [1]
    while len(await ready_versions(triton, "copied")) > 1:
        await asyncio.sleep(0.05)
    assert await ready_versions(triton, "copied") == [(2, second.model_version)]


async def test_a_model_is_changed_by_one_at_a_time(
    triton: TritonServer, make_tiny_bundle: Callable[..., Path]
) -> None:
    first, second = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (42, 43))
    await load(triton, first, "busy")
    with changing(triton.repository, "busy"):
        for change in (
            load(triton, second, "busy"),
            control.retire(triton.repository, "busy", 1, triton.url),
            control.drop(triton.repository, "busy", first.model_version, triton.url),
            asyncio.to_thread(write_version, triton.repository, second, options("busy")),
        ):
            with pytest.raises(FailedPreconditionError, match="another change of busy"):
                await change
    assert await ready_versions(triton, "busy") == [(1, first.model_version)]
    await load(triton, second, "busy")


@pytest.mark.parametrize("change", ["load", "drop"])
async def test_a_change_that_is_cancelled_is_taken_back(
    triton: TritonServer,
    make_tiny_bundle: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    """As Ctrl-C and SIGTERM cancel what an event loop runs."""
    first, second, third = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (44, 45, 46))
    model = f"cancelled-{change}"
    for bundle in (first, second):
        await load(triton, bundle, model)
    written = read_config(triton.repository, model)
    reached = asyncio.Event()

    async def wait(*arguments: Any) -> None:
        reached.set()
        await asyncio.sleep(60)

    with monkeypatch.context() as patched:
        patched.setattr(control, "_check_read", wait)
        begun = asyncio.create_task(
            load(triton, third, model)
            if change == "load"
            else control.drop(triton.repository, model, first.model_version, triton.url)
        )
        await reached.wait()
        begun.cancel()
        with pytest.raises(asyncio.CancelledError):
            await begun
    assert read_config(triton.repository, model) == written
    assert {entry.name for entry in (triton.repository / model).iterdir() if entry.is_dir()} == {"1", "2"}
    present = [(1, first.model_version), (2, second.model_version)]
    while await ready_versions(triton, model) != present:
        await asyncio.sleep(0.05)
    for bundle in (first, second):
        await assert_serves(triton, bundle, model)


async def test_a_first_bundle_that_fails_its_golden_images_leaves_nothing(
    triton: TritonServer, tiny_bundle: Path, tmp_path: Path
) -> None:
    good = load_bundle(tiny_bundle)
    wrong = made_wrong(good, tmp_path / "wrong")
    with pytest.raises(FailedPreconditionError, match="golden images come out"):
        await control.load(triton.repository, wrong, triton.url, options("first"))
    assert not (triton.repository / "first").exists()
    while await ready_versions(triton, "first"):
        await asyncio.sleep(0.05)
    await load(triton, good, "first")
    assert await ready_versions(triton, "first") == [(1, good.model_version)]


async def test_a_first_bundle_that_triton_cannot_load_leaves_nothing(
    triton: TritonServer, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('this model cannot be loaded')\n")
    bundle = load_bundle(tiny_bundle)
    with monkeypatch.context() as patched:
        patched.setattr("embedder.triton.repository._MODEL_PY", tmp_path / "broken.py")
        with pytest.raises(UnavailableError, match="cannot load unloadable"):
            await control.load(triton.repository, bundle, triton.url, options("unloadable"))
    assert not (triton.repository / "unloadable").exists()
    await load(triton, bundle, "unloadable")
