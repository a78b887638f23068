"""Levers on catalogues, and what fine-tuning gains by its time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from benchmarks.models.altered import altered_searches
from benchmarks.models.fine_tuning.cli import VARIANTS
from benchmarks.models.fine_tuning.cli import main as draw
from benchmarks.models.levers.cli import main
from benchmarks.models.levers.data import of_catalogue, tasks
from benchmarks.models.levers.lines import append, choice_table, read
from benchmarks.models.levers.settings import LEVERS, settings_of
from benchmarks.models.tasks import made_up
from embedder.training.config import TrainConfig
from embedder.training.run import TrainingRun
from lookalike.catalogue.catalog import Catalog, CatalogItem, read_catalog


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    made_up(folder, products=24, views=4, seed=0)
    return folder / "made-up-24-4-0" / "catalog.csv"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A backbone that is quick, as levers."""
    file = tmp_path_factory.mktemp("weights") / "weights.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(timm.create_model("test_resnet", num_classes=0).state_dict(), file)
    return f"backbone.architecture=test_resnet + backbone.weights={file}"


def test_levers_are_joined_by_name_and_by_setting() -> None:
    assert settings_of("default") == {}
    assert settings_of("8 copies + strong + dropout=0.5") == {
        "augmented_copies": 8,
        "augmentation": "strong",
        "dropout": 0.5,
    }
    grouped = settings_of("backbone.architecture=a + backbone.weights=b.pth + head=none")
    assert grouped == {"backbone": {"architecture": "a", "weights": "b.pth"}, "head": "none"}
    assert settings_of("2 copies + 4 copies") == {"augmented_copies": 4}
    with pytest.raises(ValueError, match="no lever 'stong': give setting=value or one of backbone, default"):
        settings_of("stong")


@pytest.mark.parametrize("name", [*LEVERS, *VARIANTS])
def test_every_lever_is_one_of_the_settings(name: str) -> None:
    TrainConfig.model_validate(settings_of(VARIANTS.get(name, name)))


def test_products_to_choose_by_are_kept_from_training(simulated: Path) -> None:
    catalog = read_catalog(simulated)
    task = of_catalogue("shop", catalog)
    kept = {question.item.product_id for question in task.searches["val"].questions}
    assert kept
    assert not kept & {item.product_id for item in task.train}
    assert {item.item_id for item in task.train} < {item.item_id for item in catalog.rows("train")}
    assert {one.item.item_id for one in task.searches["test"].questions} == {
        item.item_id for item in catalog.query_items()
    }


def test_val_rows_of_the_catalogue_are_chosen_by_where_their_products_repeat() -> None:
    rows = [
        CatalogItem(f"{split}{number}", f"{split}{number // 2}", Path("x"), splits=frozenset({split}))
        for split in ("train", "val", "query", "index")
        for number in range(8)
    ]
    task = of_catalogue("shop", Catalog(tuple(rows), Path()))
    assert len(task.train) == 8
    assert {one.item.item_id for one in task.searches["val"].questions} == {f"val{n}" for n in range(8)}
    assert len(task.searches["val"].index) == 16


def test_altered_photos_are_made_once_and_asked_for_among_the_others(tmp_path: Path) -> None:
    rows = []
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 40, 3), dtype=np.uint8)
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        rows.append(CatalogItem(str(number), str(number), path, f"title {number // 2}"))
    search = altered_searches(rows[:4], [replace(rows[4], title="title 0"), *rows[5:]], tmp_path / "altered")
    assert [one.item.item_id for one in search.questions] == ["altered 0", "altered 2"]
    assert [set(one.relevant) for one in search.questions] == [{"0"}, {"2"}]
    assert {item.item_id for item in search.index} == {"0", "2", "5", "6", "7"}
    made = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "altered").glob("*.jpg")}
    assert len(made) == 2
    altered_searches(rows[:4], rows[4:], tmp_path / "altered")
    assert made == {file.name: file.stat().st_mtime_ns for file in (tmp_path / "altered").glob("*.jpg")}


def line(lever: str, data: str, first_hit: float) -> dict[str, object]:
    searches = {"val": {"recall@1": first_hit}, "test": {"recall@1": 1 - first_hit}}
    return {"lever": lever, "data": data, "key": f"{lever} {data}", "searches": searches}


def test_what_a_stop_cut_off_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "levers.jsonl"
    append(file, line("a", "x", 0.5))
    with file.open("a") as out:
        out.write('{"lever": "b", "da')
    append(file, line("c", "x", 0.25))
    assert list(read(file)) == ["a x", "c x"]
    assert read(tmp_path / "none") == {}


def test_levers_are_chosen_by_the_rows_kept_aside_on_all_catalogues() -> None:
    lines = [line("a", "x", 0.5), line("b", "x", 0.75), line("a", "y", 0.5), line("b", "y", 0.5)]
    rows = choice_table([*lines, line("c", "x", 1.0)]).splitlines()
    assert [row.split("|")[1].strip() for row in rows[4:]] == ["b", "a"]
    assert rows[4].split("|")[2].strip() == "0.625"


def test_the_command_measures_once_and_says_what_is_unknown(
    simulated: Path,
    small: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    levers = [f"backbone + {small}", f"default + epochs=2 + embedding_dim=32 + {small}"]
    command = ["--data", f"shop={simulated}", "--levers", *levers, "--seeds", "0", "1", "--threads", "1"]
    command += ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert main(command) == 0
    file = tmp_path / "out" / "levers.jsonl"
    found = [json.loads(text) for text in file.read_text().splitlines()]
    assert [(one["lever"], one["seed"]) for one in found] == [(levers[0], 0), (levers[1], 0), (levers[1], 1)]
    assert all(one["images_per_cpu_second"]["network"] > one["images_per_cpu_second"]["all"] for one in found)
    assert set(found[0]["searches"]) == {"val", "test"}
    before = file.read_text()
    monkeypatch.delattr(TrainingRun, "train")
    assert main(command) == 0
    assert file.read_text() == before
    capsys.readouterr()
    for wrong, problem in (("shop", "no data 'shop'"), ("grocery", "grocery needs --photos")):
        with pytest.raises(SystemExit):
            main(["--data", wrong])
        assert problem in capsys.readouterr().err
    with pytest.raises(ValueError, match="fashion needs"):
        tasks(["fashion"], None, tmp_path)


def test_a_curve_begins_with_the_frozen_backbone_and_its_clock_leaves_the_measuring_out(
    simulated: Path,
    small: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variant = (
        f"fine_tune=true + fine_tune_stages=1 + fine_tune_copies=1 + embedding_dim=32 + epochs=2 + {small}"
    )
    command = ["--data", f"shop={simulated}", "--variants", variant, "--epochs", "2", "--hold-out", "0.3"]
    command += ["--threads", "1", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert draw(command) == 0
    (file,) = (tmp_path / "out").glob("shop-*.json")
    points = json.loads(file.read_text())["points"]
    assert [point["epoch"] for point in points] == [0, 1, 2]
    assert set(points[0]["searches"]) == {"val", "test", "products held out"}
    times = [point["cpu_seconds"] for point in points]
    assert times == sorted(times)
    assert times[0] == 0
    assert "| 2 | " in capsys.readouterr().out
    monkeypatch.setattr("benchmarks.models.fine_tuning.cli.curve", None)
    assert draw(command) == 0
