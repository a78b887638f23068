"""Training's settings, the command that gives them, and the texts that explain both."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import load_bundle
from embedder.preprocess import preprocess
from embedder.training.config import TrainConfig, default_cache_folder, make_config
from lookalike.catalogue.catalog import Catalog, read_catalog, split_by_product, write_catalog
from lookalike.cli.app import run
from lookalike.errors import InvalidInputError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"head": "flat", "class_balance": 0.9}, "class_balance: read only with head hierarchical"),
        ({"head": "flat", "dependence_weight": 0.8}, "dependence_weight: read only with head hierarchical"),
        ({"whitening": True}, "whitening: read only with head none"),
        ({"head": "none", "epochs": 9, "metric_loss": "arcface"}, "epochs and metric_loss: read only with"),
        ({"metric_loss": "himulcon", "hard_negatives": True}, "hard_negatives: read only with"),
        ({"fine_tune_epochs": 2}, "fine_tune_epochs: read only with fine_tune"),
        ({"photos_per_product": 2}, "photos_per_product: read only with sampler product"),
        ({"head": "none", "embedding_dim": 64}, "embedding_dim: read only with a head that is trained, or"),
        ({"identity": "pseudo", "hold_out": 0.1}, "hold_out: keeps products apart by their ids"),
        ({"drop_out": 0.1}, "drop_out: there is no such setting; did you mean dropout?"),
        ({"dropout": 1}, "dropout: Input should be less than 1"),
        ({"level_weights": [1, -1, 1]}, "level_weights.1: Input should be greater than or equal to 0"),
        ({"level_weights": [1, float("inf"), 1]}, "level_weights.1: Input should be a finite number"),
        ({"level_weights": [0, 0, 0]}, "level_weights: one of them must be above 0"),
        ({"level_weights": [1, True, 1]}, "level_weights: Input should not be true or false"),
        ({"learning_rate": True}, "learning_rate: Input should not be true or false, not True"),
        ({"epochs": True}, "epochs: Input should not be true or false"),
        ({"seed": 2**32}, "seed: Input should be less than 4294967296"),
        ({"threads": 10**9}, "threads: Input should be less than or equal to"),
        ({"batch_size": 10**400}, "batch_size: "),
        ({"epochs": 10**12}, "epochs: Input should be less than or equal to"),
        ({"workers": 10**6, "fine_tune": True}, "workers: Input should be less than or equal to"),
        ({"learning_rate": float("nan")}, "learning_rate: Input should be a finite number"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(problem)):
        make_config(settings)


def test_settings_that_the_flat_head_may_have() -> None:
    assert make_config({"head": "flat", "dependence_weight": 0, "class_balance": "0.0"}).head == "flat"
    assert make_config({"head": "flat"}).model_copy(update={"metric_loss": "none"}).check()


def train_command(catalog: Path, config: TrainConfig, out: Path, *more: str) -> list[str]:
    assert config.backbone.weights
    return [
        *("train", "--catalog", str(catalog), "--out", str(out), "--json", "--epochs", "1"),
        *("--backbone", config.backbone.architecture, "--backbone-weights", str(config.backbone.weights)),
        *("--cache", str(config.cache_folder), "--dimension", "32", *more),
    ]


def test_the_command_holds_a_fold_of_the_products_out(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = tmp_path / "catalog.csv"
    write_catalog(catalog, [replace(item, splits=frozenset({"index"})) for item in toy_catalog.items])
    arguments = train_command(catalog, config, tmp_path / "bundle")
    assert run([*arguments, "--split-by-product", "0/3"]) == 0
    kept = split_by_product(read_catalog(catalog), 0, 3).rows("train")
    assert 0 < len(kept) < len(toy_catalog.items)
    assert json.loads(capsys.readouterr().out)["rows"] == len(kept)


def test_the_command_sets_what_has_no_option_of_its_own(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = tmp_path / "catalog.csv"
    write_catalog(catalog, toy_catalog.items)
    arguments = train_command(catalog, config, tmp_path / "bundle", "--beta", "0")
    chosen = ("level_weights=[1, 0.5, 2]", "dropout=0", "augmented_copies=0", "accelerator=cpu")
    assert run([*arguments, *(part for one in chosen for part in ("--set", one))]) == 0
    capsys.readouterr()
    settings = load_bundle(tmp_path / "bundle").manifest.provenance["settings"]
    assert settings["level_weights"] == [1.0, 0.5, 2.0]
    assert (settings["dropout"], settings["augmented_copies"]) == (0.0, 0)
    assert (settings["dependence_weight"], settings["seed"]) == (0.0, 0)
    for wrong, problem in {
        "dropout": "'dropout' is not NAME=VALUE",
        "epochs=3": "epochs has a value already",
        "backbone=x": "backbone has a value already",
        "batch_sise=3": "did you mean batch_size?",
        "batch_size=few": "batch_size: Input should be a valid integer",
    }.items():
        assert run([*arguments, "--set", wrong]) == 2
        assert problem in capsys.readouterr().err
    assert run([*arguments[:-2], "--head", "flat", "--class-balance", "0.9"]) == 2
    assert "class_balance: read only with head hierarchical" in capsys.readouterr().err


def test_the_command_prepares_pictures_as_it_is_told(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = tmp_path / "catalog.csv"
    write_catalog(catalog, toy_catalog.items)
    chosen = ("--input-size", "96", "--fit", "own", "--crop-to-object", "--mirror", "--pooling", "max")
    chosen += ("--feature-stages", "2")
    arguments = train_command(catalog, config, tmp_path / "bundle", *chosen)
    assert run(arguments) == 0
    bundle = load_bundle(tmp_path / "bundle")
    params = bundle.preprocess
    assert (params.size, params.fit, params.crop_share, params.crop_to_object) == (96, "crop", 0.95, True)
    settings = bundle.manifest.provenance["settings"]
    assert (settings["input_size"], settings["mirror"], settings["pooling"]) == (96, True, "max")
    assert settings["feature_stages"] == 2
    image = np.stack([preprocess(toy_catalog.items[0].image_path.read_bytes(), params)])
    encoder = OnnxEncoder(bundle)
    same = encoder.encode(np.ascontiguousarray(image[..., ::-1])).embedding
    np.testing.assert_allclose(encoder.encode(image).embedding, same, atol=1e-5)
    capsys.readouterr()
    assert (
        run(
            [
                *train_command(catalog, config, tmp_path / "bundle", *chosen[2:]),
                "--input-size",
                "64",
                "--resume",
            ]
        )
        == 2
    )
    assert "had input_size 96, not 64" in capsys.readouterr().err


def test_missing_photos_are_bad_photos_for_the_command_too(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = tmp_path / "catalog.csv"
    gone = replace(toy_catalog.items[0], item_id="gone", image_path=tmp_path / "gone.png")
    write_catalog(catalog, [*toy_catalog.items, gone])
    arguments = train_command(catalog, config, tmp_path / "bundle")
    assert run(arguments) == 2
    assert "1 of 37 photos cannot be read, more than 1%" in capsys.readouterr().err
    assert run([*arguments, "--max-bad-share", "0.1"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["rows"] == 36
    assert [Path(photo).name for photo in answer["bad_photos"]] == ["gone.png"]


def test_the_documentation_names_every_setting() -> None:
    assert [name for name in TrainConfig.model_fields if f"`{name}`" not in PAGE] == []


def test_the_documentation_tells_the_defaults_that_training_has() -> None:
    fields = TrainConfig.model_fields
    documented = {}
    for left, right in re.findall(r"^\| (`[^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE):
        names = [name for name in re.findall(r"`(\w+)`", left) if name in fields]
        if names:
            documented |= zip(names, yaml.safe_load(f"[{right}]"), strict=True)
    paragraph = PAGE[PAGE.index("These have options") :].split("\n\n")[0]
    words = {"off": False, "all": None, "none": "none"}
    for name, value in re.findall(r"`(\w+)`(?: \(`--\w+`\))? ([\w.]+)[,.]", paragraph.replace("\n", " ")):
        documented[name] = words.get(value, yaml.safe_load(value))
    documented["patience"] = None if documented["patience"] is False else documented["patience"]
    actual = {name: fields[name].default for name in documented}
    assert documented == actual | {"level_weights": list(actual["level_weights"])}
    undocumented = {"backbone", "cache_folder", "run_folder"}
    assert set(fields) - set(documented) == undocumented


def test_the_help_tells_the_defaults_that_training_has(capsys: pytest.CaptureFixture[str]) -> None:
    from lookalike.cli import training_options as options
    from lookalike.cli.train import _SETTINGS

    for option, name in _SETTINGS.items():
        annotation = getattr(options, "".join(part.title() for part in option.split("_")), None)
        annotation = annotation or options.CacheFolder
        (text,) = [one.help for one in annotation.__metadata__]
        stated = re.search(r"default: ([\w./~-]*\w)|(\S+), the default|^(\S+) .*\(default\)", text)
        default = TrainConfig.model_fields[name].default
        if stated and isinstance(default, int | float) and not isinstance(default, bool):
            assert float(next(filter(None, stated.groups()))) == default, option
        elif stated and stated[1] and isinstance(default, str):
            assert stated[1] == default, option


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache_folder() == Path("/somewhere/lookalike")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_folder() == Path.home() / ".cache" / "lookalike"
