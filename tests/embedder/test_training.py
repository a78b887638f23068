from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import Bundle, load_bundle
from embedder.evaluation.search import nearest
from embedder.model.backbone import load_backbone
from embedder.preprocess import preprocess
from embedder.training.config import TrainConfig
from embedder.training.data import Batch
from embedder.training.module import TrainingModule
from embedder.training.torch_encoder import TorchEncoder
from embedder.training.train import TrainResult, train
from lookalike.catalogue.catalog import Catalog, CatalogItem, read_catalog
from lookalike.categories.belief import Belief
from lookalike.categories.tree import PathTree
from lookalike.errors import InvalidInputError


def ignore(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """No one looks."""


@pytest.fixture(scope="session")
def trained(
    toy_catalog: Catalog, config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> TrainResult:
    return train(toy_catalog, tmp_path_factory.mktemp("trained") / "bundle", config, ignore)


def embeddings(bundle: Bundle, items: list[CatalogItem]) -> np.ndarray:
    images = np.stack([preprocess(item.image_path.read_bytes(), bundle.preprocess) for item in items])
    return OnnxEncoder(bundle, threads=2).encode(images).embedding


def test_a_trained_bundle_embeds_and_classifies(trained: TrainResult, toy_catalog: Catalog) -> None:
    bundle = trained.bundle
    assert (trained.rows, trained.trained_on, trained.bad_photos) == (36, "train", {})
    assert bundle.taxonomy.sizes == (2, 2, 2)
    assert bundle.manifest.provenance["rows"] == 36
    items = toy_catalog.rows("train")
    images = np.stack([preprocess(item.image_path.read_bytes(), bundle.preprocess) for item in items])
    encoded = OnnxEncoder(bundle).encode(images)
    assert encoded.embedding.shape == (36, 32)
    np.testing.assert_allclose(np.linalg.norm(encoded.embedding, axis=1), 1, atol=1e-5)
    metas = bundle.taxonomy.paths[0]
    best = [metas[number] for number in encoded.probabilities[0].argmax(axis=1)]
    assert np.mean([path == item.categories[:1] for path, item in zip(best, items, strict=True)]) > 0.8
    tree = PathTree(bundle.taxonomy.paths)
    paths = [Belief(tree, posterior).category for posterior in tree.posterior(encoded.probabilities)]
    right = [path[:1] == item.categories[:1] for path, item in zip(paths, items, strict=True)]
    assert np.mean(right) == pytest.approx(trained.metrics["train_accuracy_meta"])


def test_accuracies_are_measured_on_val_rows_too(trained: TrainResult) -> None:
    for name in ("train", "val"):
        for level in ("meta", "level2", "leaf"):
            assert 0 <= trained.metrics[f"{name}_accuracy_{level}"] <= 1
            assert f"{name}_accuracy_{level}_macro" in trained.metrics
    assert trained.bundle.manifest.metrics == trained.metrics


def test_equal_runs_give_the_same_model(
    trained: TrainResult, toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    fresh = config.model_copy(update={"cache_folder": tmp_path / "cache"})
    again = train(toy_catalog, tmp_path / "again", fresh, ignore)
    assert again.bundle.model_version == trained.bundle.model_version
    other = train(toy_catalog, tmp_path / "again", config.model_copy(update={"seed": 1}), ignore)
    assert other.bundle.model_version != trained.bundle.model_version


def test_progress_is_reported_and_features_are_computed_once(
    trained: TrainResult, toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    reported: list[tuple[str, int, int]] = []
    speeds: list[float] = []

    def on_progress(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        reported.append((stage, done, total))
        assert all(np.isfinite(value) for value in figures.values())
        if stage == "features" and "photos_per_second" in figures:
            speeds.append(figures["photos_per_second"])

    fresh = config.model_copy(update={"cache_folder": tmp_path / "cache", "epochs": 1})
    train(toy_catalog, tmp_path / "bundle", fresh, on_progress)
    assert reported[:2] == [("features", 0, 72), ("features", 16, 72)]
    assert len(speeds) == 5 + 1
    reported.clear()
    train(toy_catalog, tmp_path / "bundle", config, on_progress)
    assert reported[0] == ("features", 72, 72)  # at once: they were kept
    steps = 20 * (36 // 8)
    assert [entry[1:] for entry in reported if entry[0] == "train"] == [
        (n, steps) for n in range(1, steps + 1)
    ]
    assert reported[-1] == ("export", 1, 1)


def with_splits(catalog: Catalog, split: str) -> Catalog:
    items = [
        CatalogItem(i.item_id, i.product_id, i.image_path, i.title, i.categories, {}, frozenset({split}))
        for i in catalog.rows("train")
    ]
    return Catalog(tuple(items), catalog.root)


def test_without_train_rows_the_index_rows_are_trained_on(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    result = train(with_splits(toy_catalog, "index"), tmp_path / "bundle", config, ignore)
    assert result.trained_on == "index"
    assert result.bundle.manifest.provenance["trained_on"] == "index"


@pytest.fixture
def partly_broken(toy_catalog: Catalog, tmp_path: Path) -> Catalog:
    """One of 36 photos is text, one is gone."""
    items = toy_catalog.rows("train")
    (tmp_path / "text.png").write_text("not a photo")
    category = ("toys", "balls", "blue")
    broken = [
        CatalogItem(name, "p1", tmp_path / f"{name}.png", "", category, {}, frozenset({"train"}))
        for name in ("text", "gone")
    ]
    return Catalog((*items[:34], *broken), tmp_path)


def test_a_few_bad_photos_are_left_out_and_listed(
    partly_broken: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    tolerant = config.model_copy(update={"max_bad_share": 0.1})
    result = train(partly_broken, tmp_path / "bundle", tolerant, ignore)
    assert result.rows == 34
    assert {path.name for path in result.bad_photos} == {"text.png", "gone.png"}


def test_too_many_bad_photos_stop_the_training(
    partly_broken: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match=r"2 of 36 photos cannot be read, more than 1%.*text\.png"):
        train(partly_broken, tmp_path / "bundle", config, ignore)
    assert not (tmp_path / "bundle").exists()


def test_what_cannot_be_trained_with_is_refused_before_any_photo_is_read(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("diary")
    reported: list[str] = []
    for settings, problem in (
        ({"devices": 2}, "fewer than 2 GPUs"),
        ({"run_folder": tmp_path / "letters"}, "other than a training run"),
    ):
        wrong = config.model_copy(update=settings)
        with pytest.raises(InvalidInputError, match=problem):
            train(toy_catalog, tmp_path / "bundle", wrong, lambda stage, *_: reported.append(stage))
    assert reported == []


@pytest.mark.usefixtures("default_signals")
def test_ctrl_c_stops_the_training_and_leaves_ctrl_c_as_it_was(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGINT)

    def press_ctrl_c(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if stage == "train":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(toy_catalog, tmp_path / "bundle", config, press_ctrl_c)
    assert signal.getsignal(signal.SIGINT) is before
    assert not (tmp_path / "bundle").exists()


def test_a_report_that_cannot_be_written_does_not_cost_the_model(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("embedder.training.train.write_report", fail)
    settings = config.model_copy(update={"epochs": 1, "run_folder": tmp_path / "run"})
    with pytest.raises(OSError, match="full"):
        train(toy_catalog, tmp_path / "bundle", settings, ignore)
    load_bundle(tmp_path / "bundle")


def test_products_with_one_photo_and_no_categories_can_be_trained_on(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    items = tuple(
        CatalogItem(i.item_id, i.item_id, i.image_path, splits=frozenset({"train"}))
        for i in toy_catalog.rows("train")
    )
    result = train(Catalog(items, toy_catalog.root), tmp_path / "bundle", config, ignore)
    assert result.bundle.levels == ()
    assert result.metrics == {}


def test_the_baselines_are_options_of_the_same_run(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    headless = {
        "backbone": config.backbone,
        "cache_folder": config.cache_folder,
        "head": "none",
        "match_calibration": False,
    }
    plain = train(toy_catalog, tmp_path / "plain", TrainConfig.model_validate(headless), ignore)
    assert (plain.bundle.levels, plain.bundle.dim, plain.history) == ((), 96, {})
    white = TrainConfig.model_validate(headless | {"embedding_dim": 32, "whitening": True})
    whitened = train(toy_catalog, tmp_path / "whitened", white, ignore)
    assert (whitened.bundle.levels, whitened.bundle.dim) == ((), 32)
    assert whitened.metrics == {}  # each product has one val photo, and there are no classes
    ends = config.model_copy(update={"head": "flat", "epochs": 60})
    flat = train(toy_catalog, tmp_path / "flat", ends, ignore)
    assert flat.bundle.taxonomy.sizes == (2, 2, 2)
    assert flat.metrics["train_accuracy_leaf"] > 0.8
    assert "flat_loss" in flat.history["train"][0]


def test_a_run_with_everything_on_is_logged_and_reported(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    words = ("one red ball", "a blue ball", "wooden cube", "hammer")
    items = tuple(
        replace(item, title=words[number // 4 % 4]) for number, item in enumerate(toy_catalog.items)
    )
    settings = config.model_copy(
        update={
            "run_folder": tmp_path / "run",
            "epochs": 3,
            "class_balance": 0.99,
            "metric_loss": "supcon",
            "hard_negatives": True,
            "title_loss": "softmax",
            "title_min_count": 3,
            "sampler": "product",
            "fine_tune": True,
            "fine_tune_epochs": 2,
        }
    )
    result = train(Catalog(items, toy_catalog.root), tmp_path / "bundle", settings, ignore)
    assert [len(result.history[stage]) for stage in ("train", "fine-tune")] == [3, 2]
    terms = ("layer_loss", "dependence_loss", "metric_loss", "attribute_loss")
    for epochs in result.history.values():
        assert all(epochs[0][f"gradient/{term}"] > 0 for term in terms)
        assert "recall@1" not in epochs[0]  # each product has one val photo
        assert 0 <= epochs[-1]["accuracy_leaf"] <= 1
    assert list((tmp_path / "run" / "tensorboard" / "fine-tune").glob("events.out.tfevents*"))
    assert result.report == tmp_path / "run" / "report" / "index.html"
    page = result.report.read_text()
    pictures = re.findall(r'src="([^"]+)"', page)
    assert {"curves-train.png", "curves-fine-tune.png", "confusion-meta.png"} <= set(pictures)
    for picture in pictures:
        with Image.open(result.report.parent / picture) as image:
            assert min(image.size) > 10
    assert str(tmp_path) not in page


def test_dropout_works_while_training_and_the_batch_norm_stays_as_it_was(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = set()
    step = TrainingModule.training_step

    def watched(module: TrainingModule, batch: Batch, batch_idx: int) -> Tensor:
        backbone = module.backbone and any(part.training for part in module.backbone.modules())
        modes.add((module.head.training, backbone))
        return step(module, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", watched)
    short = config.model_copy(update={"epochs": 2, "fine_tune": True, "fine_tune_epochs": 1})
    losses = []
    for dropout in (0.0, 0.5):
        settings = short.model_copy(update={"dropout": dropout})
        result = train(toy_catalog, tmp_path / "bundle", settings, ignore)
        losses.append([epochs[-1]["loss"] for epochs in result.history.values()])
    assert modes == {(True, None), (True, False)}
    assert all(without != dropped for without, dropped in zip(*losses, strict=True))


def test_fine_tuning_goes_only_a_share_of_the_way(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    photos = list(toy_catalog.items)
    frozen = embeddings(train(toy_catalog, tmp_path / "frozen", config, ignore).bundle, photos)
    found = {}
    for share in (0.0, 0.5, 1.0):
        settings = config.model_copy(
            update={"fine_tune": True, "fine_tune_epochs": 1, "fine_tune_share": share}
        )
        found[share] = embeddings(train(toy_catalog, tmp_path / "tuned", settings, ignore).bundle, photos)
    distances = [float((1 - (frozen * vectors).sum(axis=1)).mean()) for vectors in found.values()]
    assert distances[0] < 1e-6 < distances[1] < distances[2]


# At 0 the embedding is that of the start whatever is learned, so that every epoch must be judged alike.
@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("stage", ["train", "fine-tune"])
def test_early_stopping_goes_back_to_the_best_epoch(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path, stage: str, share: float
) -> None:
    no_val = Catalog(tuple(toy_catalog.rows("train")), toy_catalog.root)
    changes: dict[str, object] = {"patience": 1, "epochs": 20, "hold_out": 0.4, "projection_share": share}
    if stage == "fine-tune":
        changes |= {"fine_tune": True, "fine_tune_epochs": 20, "fine_tune_share": share}
    result = train(no_val, tmp_path / "bundle", config.model_copy(update=changes), ignore)
    monitored = [epoch["monitor"] for epoch in result.history[stage]]
    assert len(monitored) == 2 if share == 0 else 2 <= len(monitored) < 20
    assert share or len(set(monitored)) == 1
    assert monitored[-1] <= max(monitored[:-1])
    assert result.metrics["val_recall@1"] == max(monitored)
    assert 0 < result.rows < 36


def test_early_stopping_needs_something_to_judge_by(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    patient = config.model_copy(update={"patience": 1})
    train_rows = tuple(toy_catalog.rows("train"))
    with pytest.raises(InvalidInputError, match="early stopping needs val rows in the catalogue"):
        train(Catalog(train_rows, toy_catalog.root), tmp_path / "bundle", patient, ignore)
    nameless = tuple(
        replace(item, product_id=item.item_id, categories=()) for item in toy_catalog.rows("val")
    )
    with pytest.raises(InvalidInputError, match="that have categories or show products twice"):
        train(Catalog(train_rows + nameless, toy_catalog.root), tmp_path / "bundle", patient, ignore)


def test_features_read_after_training_are_those_of_the_untrained_backbone(config: TrainConfig) -> None:
    backbone = load_backbone(config.backbone).module
    encoder = TorchEncoder(backbone, torch.device("cpu"))
    pictures = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    before = encoder.encode(pictures).embedding
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.mul_(1.1)
    np.testing.assert_array_equal(encoder.encode(pictures).embedding, before)


def test_unfit_settings_and_targets_are_refused(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="wider than the backbone's"):
        train(toy_catalog, tmp_path / "bundle", config.model_copy(update={"embedding_dim": 1281}), ignore)
    without_head = config.model_copy(update={"head": "none", "fine_tune": True})
    with pytest.raises(InvalidInputError, match="read only with a head that is trained"):
        train(toy_catalog, tmp_path / "bundle", without_head, ignore)
    with pytest.raises(InvalidInputError, match="not a model bundle"):
        train(toy_catalog, toy_catalog.root, config, ignore)


def test_on_real_photos_training_beats_the_plain_backbone(
    shared_data: Path, default_bundle: Bundle, config: TrainConfig, tmp_path: Path
) -> None:
    """Photos of 15 products that training did not see, of a kind that it did see."""
    catalog = read_catalog(shared_data / "grocery" / "catalog.csv")
    cartons = [item for item in catalog.rows("train") if item.categories[0] == "Packages"]
    products = sorted({item.product_id for item in cartons})
    per_product = {p: [item for item in cartons if item.product_id == p][:6] for p in products}
    seen = tuple(item for p in products[::2] for item in per_product[p])
    unseen = [item for p in products[1::2] for item in per_product[p]]
    settings = TrainConfig(augmented_copies=0, threads=2, cache_folder=config.cache_folder)
    trained = train(Catalog(seen, catalog.root), tmp_path / "bundle", settings, ignore).bundle

    shown = np.array([item.product_id for item in unseen])

    def quality(bundle: Bundle) -> float:
        """The share of the five nearest other photos that show the same product."""
        vectors = embeddings(bundle, unseen)
        found = nearest(vectors, vectors, 5, np.arange(len(unseen))).positions
        return float(np.mean(shown[found] == shown[:, None]))

    assert quality(trained) > quality(default_bundle)
