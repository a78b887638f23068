from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.models import measure
from benchmarks.models.cli import main
from benchmarks.models.match_forms import FORMS
from benchmarks.models.report import difference_table, labelled_table, search_table
from benchmarks.models.tasks import Search, _parted, made_up
from benchmarks.models.variants import VARIANTS, of_section, options_of
from embedder.training.config import TrainConfig
from lookalike.catalogue.catalog import CatalogItem


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the features of the same made-up photos are kept for all tests."""
    return tmp_path_factory.mktemp("cache")


def item(name: str, product: str, title: str = "") -> CatalogItem:
    return CatalogItem(name, product, Path(name), title, ("a", "b", "c"))


@pytest.mark.parametrize("section", ["ablation", "shares", "quoted", "folds", "made-up"])
def test_every_model_has_settings_of_its_own(section: str) -> None:
    settings = [
        (TrainConfig.model_validate(one).decides(), options_of(name))
        for name, one in of_section(section).items()
    ]
    assert all(one not in settings[:number] for number, one in enumerate(settings))


def test_rows_with_one_key_stay_together() -> None:
    rows = [item(str(number), "p", f"title {number // 4}") for number in range(4_000)]
    kept, chosen = _parted(rows, lambda row: row.title)
    assert not {row.title for row in kept} & {row.title for row in chosen}
    assert 0.1 < len(chosen) / len(rows) < 0.2
    assert sorted(row.item_id for row in kept + chosen) == sorted(row.item_id for row in rows)


def test_a_search_has_the_index_rows_of_a_product_as_right_answers() -> None:
    search = Search.of([item("q", "p")], [item("1", "p"), item("2", "p"), item("3", "other")])
    (question,) = search.questions
    assert question.relevant == {"1", "2"}
    assert not question.indexed


def test_models_are_measured_once_and_tabled(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = made_up(tmp_path, products=24, views=4, seed=0)
    folder, runs = tmp_path / "runs", {}
    for name in ("backbone", "DHC + Proxy-Anchor"):
        short = {} if VARIANTS[name].get("head") == "none" else {"epochs": 2}
        config = TrainConfig.model_validate({"cache_folder": cache, **short, **VARIANTS[name]})
        runs[name] = [measure.measured(task, config, folder, lambda text: None)]
    monkeypatch.delattr(measure.TrainingRun, "train")
    assert measure.measured(task, config, folder, lambda text: None) == runs[name][0]
    (found,) = runs["DHC + Proxy-Anchor"]
    search = found["searches"]["unseen products"]
    assert search["means"]["recall@1"] == pytest.approx(np.nanmean(search["queries"]["recall@1"]))
    assert 0 < search["means"]["recall@1"] <= 1
    labelled = found["labelled"]["test"]
    assert set(labelled) == {"votes", "classifier", "levels apart", "classifier and votes"}
    assert labelled["classifier"]["violation_rate"] == 0
    assert set(runs["backbone"][0]["labelled"]["test"]) == {"votes"}

    table = search_table(runs, "unseen products")
    assert (
        f"| backbone | {runs['backbone'][0]['searches']['unseen products']['means']['recall@1']:.3f} |"
        in table
    )
    assert "| backbone | – | – | – |" in labelled_table(runs, "test")
    folds = {name: [seeds[0], seeds[0]] for name, seeds in runs.items()}
    pooled = difference_table(folds, "unseen products", "backbone")
    assert f"{2 * len(search['products'])} queries" in pooled
    mine, theirs = (
        runs[name][0]["searches"]["unseen products"]["means"]["recall@1"] for name in reversed(runs)
    )
    assert f"{mine - theirs:+.3f} (" in pooled


def test_the_command_writes_a_section_and_measures_it_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["--only", "made-up", "--models", "backbone", "backbone, whitened within products"]
    command += ["--seeds", "0", "1", "--products", "24", "--views", "4", "--out", str(tmp_path)]
    command += ["--cache", str(cache), "--threads", "1"]
    assert main(command) == 0
    text = (tmp_path / "made-up.md").read_text()
    assert "| backbone, whitened within products | 0." in text
    assert "against the backbone" in text
    monkeypatch.delattr(measure.TrainingRun, "train")
    assert main(command) == 0
    assert (tmp_path / "made-up.md").read_text() == text
    photo = next(tmp_path.glob("made-up-*/images/*"))
    photo.write_bytes(photo.read_bytes() + b"\0")
    measure._photo_hash.cache_clear()
    with pytest.raises(AttributeError, match="train"):
        main(command)


def test_ways_to_make_probabilities_are_compared(tmp_path: Path, cache: Path) -> None:
    command = ["--only", "match", "--seeds", "0", "--products", "30", "--views", "4", "--threads", "1"]
    assert main([*command, "--out", str(tmp_path), "--cache", str(cache)]) == 0
    text = (tmp_path / "match.md").read_text()
    for form in FORMS:
        assert text.count(f"| {form} | 0.") == 2  # among 17 products, and among 11: fewer are not searched
    assert "| 11 unseen products | 0.5 |" in text


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (["--only", "folds"], "--photos is needed"),
        (["--only", "made-up", "--models", "defualt"], "--models for made-up: backbone and any of backbone;"),
        (["--only", "folds", "--photos", "x", "--models", "default"], "--models for folds: backbone and"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(
    command: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(command)
    assert problem in capsys.readouterr().err
