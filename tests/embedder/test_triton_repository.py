"""The model repository as files; no server needed."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import Bundle, load_bundle, write_bundle
from embedder.config import EmbedderSettings
from embedder.evaluation.offline import evaluate_bundle
from embedder.triton import naming
from embedder.triton.repository import (
    RepositoryOptions,
    all_but,
    delete_version,
    drop_versions,
    number_of,
    read_config,
    write_config,
    write_version,
)
from lookalike.catalogue.catalog import read_catalog
from lookalike.cli.app import run
from lookalike.errors import FailedPreconditionError, InvalidInputError
from lookalike.matching import MatchCalibration
from lookalike.runtime.settings import load_settings
from lookalike.synth import generate


def config_of(repository: Path, model: str = "lookalike") -> Any:
    config = read_config(repository, model)
    assert config is not None
    return config


def test_the_calibration_of_each_version_goes_with_it(tiny_bundle: Path, tmp_path: Path) -> None:
    calibration = MatchCalibration(20.0, 0.4, 0.5, 0.2)
    plain = load_bundle(tiny_bundle)
    calibrated = write_bundle(
        tmp_path / "bundle",
        plain.network_path,
        dim=plain.dim,
        taxonomy=plain.taxonomy,
        preprocess=plain.preprocess,
        provenance={},
        metrics={},
        match_calibration=calibration,
    )
    for bundle in (plain, calibrated, calibrated):
        write_version(tmp_path, bundle, RepositoryOptions())
    config = config_of(tmp_path)
    assert [naming.calibration_of(config, number) for number in ("1", "2")] == [None, calibration]
    drop_versions(tmp_path, "lookalike", [2])
    assert not [key for key in config_of(tmp_path).parameters if key.endswith(".2")]


@pytest.mark.parametrize("backend", ["onnxruntime", "python"])
def test_the_configuration_says_what_triton_needs(tiny_bundle: Path, tmp_path: Path, backend: Any) -> None:
    bundle = load_bundle(tiny_bundle)
    options = RepositoryOptions(backend=backend, instances=2, max_batch=12, threads=3)
    assert write_version(tmp_path, bundle, options) == 1
    config = config_of(tmp_path)
    assert (config.name, config.backend, config.max_batch_size) == ("lookalike", backend, 12)
    assert [(tensor.name, list(tensor.dims)) for tensor in config.input] == [("images", [3, 32, 32])]
    assert {tensor.name: list(tensor.dims) for tensor in config.output} == {
        "embedding": [16],
        "meta": [2],
        "level2": [3],
        "leaf": [3],
    }
    assert list(config.version_policy.specific.versions) == [1]
    (group,) = config.instance_group
    assert (group.count, group.kind) == (2, group.KIND_CPU)
    assert config.parameters["intra_op_thread_count"].string_value == "3"
    assert naming.versions(config) == {"1": bundle.model_version}
    files = {file.name for file in (tmp_path / "lookalike" / "1").iterdir()}
    assert files == ({"model.onnx", "model.py"} if backend == "python" else {"model.onnx"})


def test_batches_form_without_a_delay_or_a_queue_policy_and_all_sizes_are_warmed_up(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    write_version(tmp_path, load_bundle(tiny_bundle), RepositoryOptions(max_batch=12))
    config = config_of(tmp_path)
    batching = config.dynamic_batching
    assert config.HasField("dynamic_batching")
    assert not batching.HasField("default_queue_policy")
    assert batching.max_queue_delay_microseconds == 0
    assert list(batching.preferred_batch_size) == [2, 4, 8, 12]
    warmed = [(warm_up.batch_size, list(warm_up.inputs["images"].dims)) for warm_up in config.model_warmup]
    assert warmed == [(size, [3, 32, 32]) for size in range(1, 13)]


def test_instances_on_a_gpu(tiny_bundle: Path, tmp_path: Path) -> None:
    write_version(tmp_path, load_bundle(tiny_bundle), RepositoryOptions(device="gpu"))
    (group,) = config_of(tmp_path).instance_group
    assert group.kind == group.KIND_GPU


def test_a_bundle_is_one_version_however_often_it_is_written(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    one, two = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (1, 2))
    assert [write_version(tmp_path, bundle, RepositoryOptions()) for bundle in (one, two, one)] == [1, 2, 1]
    config = config_of(tmp_path)
    assert naming.versions(config) == {"1": one.model_version, "2": two.model_version}
    assert list(config.version_policy.specific.versions) == [1, 2]
    assert naming.version_of(config, two.model_version) == "2"
    assert naming.version_of(config, "another") is None
    written = tmp_path / "lookalike" / "2" / "model.onnx"
    assert written.read_bytes() == two.network_path.read_bytes()


def test_what_is_not_named_stays_as_the_model_has_it(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    one, two = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (1, 2))
    write_version(
        tmp_path, one, RepositoryOptions("python", device="gpu", instances=2, max_batch=12, threads=3)
    )
    before = config_of(tmp_path)
    before.dynamic_batching.max_queue_delay_microseconds = 5
    write_config(tmp_path, "lookalike", before)
    assert write_version(tmp_path, two, RepositoryOptions()) == 2
    after = config_of(tmp_path)
    assert {file.name for file in (tmp_path / "lookalike" / "2").iterdir()} == {"model.onnx", "model.py"}
    drop_versions(tmp_path, "lookalike", [2])
    dropped = config_of(tmp_path)
    marks = {config.parameters.pop("lookalike.change").string_value for config in (before, after, dropped)}
    assert len(marks) == 3
    assert dropped == before != after
    write_version(tmp_path, one, RepositoryOptions(device="cpu", instances=1, max_batch=2, threads=0))
    changed = config_of(tmp_path)
    (group,) = changed.instance_group
    assert (group.count, group.kind, changed.max_batch_size) == (1, group.KIND_CPU, 2)
    assert [warm_up.batch_size for warm_up in changed.model_warmup] == [1, 2]
    assert list(changed.dynamic_batching.preferred_batch_size) == [2]
    assert changed.dynamic_batching.max_queue_delay_microseconds == 5
    assert "intra_op_thread_count" not in changed.parameters


def test_versions_for_another_backend_need_another_name(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    one, two = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (1, 2))
    write_version(tmp_path, one, RepositoryOptions())
    before = config_of(tmp_path)
    for bundle in (one, two):
        with pytest.raises(FailedPreconditionError, match="another --model"):
            write_version(tmp_path, bundle, RepositoryOptions("python"))
    assert config_of(tmp_path) == before
    assert not (tmp_path / "lookalike" / "2").exists()
    assert write_version(tmp_path, two, RepositoryOptions("onnxruntime")) == 2


def test_versions_leave_the_configuration_before_their_files(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    bundles = [load_bundle(make_tiny_bundle(seed=seed)) for seed in (1, 2, 3)]
    for bundle in bundles:
        write_version(tmp_path, bundle, RepositoryOptions())
    with pytest.raises(InvalidInputError, match="has no version 9"):
        all_but(tmp_path, "lookalike", 9)
    assert number_of(tmp_path, "lookalike", bundles[1].model_version) == 2
    drop_versions(tmp_path, "lookalike", [2])
    assert number_of(tmp_path, "lookalike", bundles[1].model_version) is None
    assert list(config_of(tmp_path).version_policy.specific.versions) == [1, 3]
    assert set(naming.versions(config_of(tmp_path))) == {"1", "3"}
    assert (tmp_path / "lookalike" / "2").exists()
    assert all_but(tmp_path, "lookalike", 3) == [1, 2], "what an interrupted retirement left is found again"
    drop_versions(tmp_path, "lookalike", [1])
    delete_version(tmp_path, "lookalike", 1)
    delete_version(tmp_path, "lookalike", 2)
    assert not (tmp_path / "lookalike" / "2").exists()
    assert write_version(tmp_path, load_bundle(make_tiny_bundle(seed=4)), RepositoryOptions()) == 4


def test_a_bundle_of_another_shape_needs_another_name(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    write_version(tmp_path, load_bundle(make_tiny_bundle()), RepositoryOptions())
    other = load_bundle(make_tiny_bundle(categories=()))
    with pytest.raises(FailedPreconditionError, match="another --model"):
        write_version(tmp_path, other, RepositoryOptions())
    assert write_version(tmp_path, other, RepositoryOptions(model="other")) == 1


@pytest.mark.parametrize("content", ["", 'name: "someone-elses"', "not { a config", None])
def test_a_foreign_model_is_never_touched(tiny_bundle: Path, tmp_path: Path, content: str | None) -> None:
    """Triton takes models of its ONNX Runtime backend without a configuration too."""
    (tmp_path / "lookalike" / "1").mkdir(parents=True)
    (tmp_path / "lookalike" / "1" / "model.onnx").write_text("of somebody else")
    if content is not None:
        (tmp_path / "lookalike" / "config.pbtxt").write_text(content)
    with pytest.raises(InvalidInputError, match="was not written by"):
        write_version(tmp_path, load_bundle(tiny_bundle), RepositoryOptions())
    assert (tmp_path / "lookalike" / "1" / "model.onnx").read_text() == "of somebody else"


@pytest.mark.parametrize("moment", ["the model's file is copied", "the configuration is written"])
def test_an_export_that_is_killed_can_be_repeated(tiny_bundle: Path, tmp_path: Path, moment: str) -> None:
    killed_in = {"the model's file is copied": "sha256_of", "the configuration is written": "write_config"}
    code = f"""
import os, signal
from pathlib import Path
from embedder.bundle import load_bundle
from embedder.triton import repository
repository.{killed_in[moment]} = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
bundle = load_bundle(Path({str(tiny_bundle)!r}))
repository.write_version(Path({str(tmp_path)!r}), bundle, repository.RepositoryOptions())
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert list((tmp_path / "lookalike").iterdir())
    assert read_config(tmp_path, "lookalike") is None
    assert write_version(tmp_path, load_bundle(tiny_bundle), RepositoryOptions()) == 1
    assert {entry.name for entry in (tmp_path / "lookalike").iterdir()} == {"config.pbtxt", "1"}


def test_a_full_disk_leaves_a_repository_as_it_was_and_is_named(
    make_tiny_bundle: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders = [make_tiny_bundle(seed=seed) for seed in (1, 2)]
    for expected, folder in enumerate(folders):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", full_disk)
            assert run(["export", f"--bundle={folder}", f"--triton={tmp_path}"]) == 1
        printed = capsys.readouterr().err
        assert f"the disk is full: cannot write {tmp_path / 'lookalike'};" in printed
        present = {entry.name for entry in (tmp_path / "lookalike").glob("*")}
        assert present == ({"config.pbtxt", "1"} if expected else set())
        assert (tmp_path / "lookalike").exists() is bool(expected)
        assert run(["export", f"--bundle={folder}", f"--triton={tmp_path}"]) == 0
    assert set(naming.versions(config_of(tmp_path))) == {"1", "2"}


def test_a_version_that_cannot_be_written_again_stays(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(tiny_bundle)
    write_version(tmp_path, bundle, RepositoryOptions())
    before = config_of(tmp_path)
    (tmp_path / "lookalike" / "1" / "mine").touch()
    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_version(tmp_path, bundle, RepositoryOptions(instances=2))
    assert config_of(tmp_path) == before
    assert {entry.name for entry in (tmp_path / "lookalike" / "1").iterdir()} == {"model.onnx", "mine"}


def full_disk(source: Path, target: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source), None, str(target))


@pytest.mark.parametrize("name", ["../evil", "", "a/b c", ".", "..", "a\n", "ü"])
@pytest.mark.parametrize("command", ["export", "model load", "model switch", "model retire", "model list"])
def test_a_models_name_is_that_of_a_folder_in_the_repository(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    repository = tmp_path / "repository"
    flags = {
        "export": [f"--bundle={tiny_bundle}", f"--triton={repository}"],
        "model load": [f"--bundle={tiny_bundle}", f"--triton={repository}"],
        "model switch": [f"--to={tiny_bundle}", f"--served={tiny_bundle}", "--embedder=127.0.0.1:1"],
        "model retire": ["--keep=1", f"--triton={repository}"],
        "model list": [],
    }
    assert run([*command.split(), *flags[command], "--model", name]) == 2
    assert "cannot be a model's name" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    with pytest.raises(InvalidInputError, match="cannot be a model's name"):
        RepositoryOptions(model=name)
    with pytest.raises(InvalidInputError, match="triton_model"):
        load_settings(EmbedderSettings, bundle=tiny_bundle, triton_model=name)


@pytest.mark.parametrize("name", ["lookalike", "shop-2", "v1.5_int8", "..x"])
def test_names_that_models_may_have(tiny_bundle: Path, name: str) -> None:
    assert RepositoryOptions(model=name).model == name
    assert load_settings(EmbedderSettings, bundle=tiny_bundle, triton_model=name).triton_model == name


def test_the_command_line_exports(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = load_bundle(tiny_bundle).model_version
    flags = ["export", f"--bundle={tiny_bundle}", f"--triton={tmp_path}", "--backend=python", "--json"]
    assert run(flags) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["version"], printed["model_version"]) == (1, version)
    assert naming.versions(config_of(tmp_path)) == {"1": version}
    assert run(["export", f"--bundle={tiny_bundle}"]) == 2
    assert "--triton DIR" in capsys.readouterr().err


def index_without_its_first_product(csv_file: Path) -> None:
    """Leave a product's queries without a right answer, as catalogues have them."""
    with csv_file.open(newline="") as handle:
        reader = csv.DictReader(handle)
        rows, names = list(reader), list(reader.fieldnames or ())
    gone = next(row["product_id"] for row in rows if "query" in row["split"])
    kept = [row for row in rows if row["product_id"] != gone or "index" not in row["split"]]
    assert len(kept) < len(rows)
    with csv_file.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, names)
        writer.writeheader()
        writer.writerows(kept)


def test_int8_is_a_bundle_of_its_own_with_its_cost(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = generate(tmp_path / "shop", products=6, views=4, seed=3, workers=1, image_size=64)
    index_without_its_first_product(table)
    flags = [
        "export",
        f"--bundle={tiny_bundle}",
        f"--int8={tmp_path / 'int8'}",
        f"--catalog={table}",
        "--json",
    ]
    assert run(flags) == 0
    printed = json.loads(capsys.readouterr().out)
    for name, folder in (("float32", tiny_bundle), ("int8", tmp_path / "int8")):
        figures = evaluate_bundle(read_catalog(table), folder, update=lambda done, total: None).figures
        assert figures["queries_without_answer"] > 0
        assert printed[f"int8_recall_at_1_{name}"] == figures["recall@1"]
    exact, int8 = load_bundle(tiny_bundle), load_bundle(tmp_path / "int8")
    assert int8.model_version == printed["model_version"] != exact.model_version
    assert int8.manifest.provenance["quantised_from"] == exact.model_version
    assert 0.9 < printed["int8_cosine_min"] <= printed["int8_cosine_mean"] <= 1.0 + 1e-6
    assert printed["int8_cosine_min"] < 1.0 - 1e-9
    golden, exact_golden = int8.golden(), exact.golden()
    assert golden is not None
    assert exact_golden is not None
    rows = OnnxEncoder(int8, threads=1).encode(golden.prepare(int8.preprocess)).embedding
    assert golden.distance(rows) <= 1e-6
    assert 0 < exact_golden.distance(rows) < 0.1


def rewritten(bundle: Bundle, out: Path, **provenance: str) -> Path:
    return write_bundle(
        out,
        bundle.network_path,
        dim=bundle.dim,
        taxonomy=bundle.taxonomy,
        preprocess=bundle.preprocess,
        provenance=provenance,
        metrics={},
    ).path


def test_int8_never_replaces_the_bundle_that_it_is_made_of(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exact = rewritten(load_bundle(tiny_bundle), tmp_path / "exact")
    before = load_bundle(exact)
    (tmp_path / "link").symlink_to(exact)
    for out in (exact, tmp_path / "x" / ".." / "exact", tmp_path / "link"):
        assert run(["export", f"--bundle={exact}", f"--int8={out}"]) == 2
        printed = capsys.readouterr().err
        assert "is the float32 bundle itself" in printed
        assert "Simulating" not in printed
    assert load_bundle(exact) == before


def test_an_int8_bundle_is_not_quantised_again(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    int8 = rewritten(load_bundle(tiny_bundle), tmp_path / "int8", precision="int8", quantised_from="0123")
    assert run(["export", f"--bundle={int8}", f"--int8={tmp_path / 'again'}"]) == 2
    assert f"{int8} is an int8 bundle already" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()
