"""`lookalike calibrate`: what it asks, fits, shows and keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.cli.app import run
from lookalike.matching import DEPTH, MatchCalibration
from lookalike.v1 import search_pb2

TRUTH = MatchCalibration(20.0, 0.4, 0.0, 0.0)
QUERIES = 300


@pytest.fixture
def labelled(store: Any, tmp_path: Path) -> Path:
    """Labelled queries; which of the products they find is right, or none, is drawn by ``TRUTH``."""
    random = np.random.default_rng(0)
    lines = ["item_id,product_id"]
    for number in range(QUERIES):
        scores = -np.sort(-random.uniform(0, 0.4, DEPTH + 1))
        scores[0] += random.uniform(0, 0.5)
        shares = TRUTH.probabilities(scores[None, :DEPTH].astype(np.float32))[0]
        place = int((random.random() > np.cumsum(shares)).sum())
        products = [f"other-{rank}" for rank in range(DEPTH + 1)]
        product = ""
        if place < DEPTH:
            products[place] = product = f"p{number}"
        store.hits[f"q{number}"] = [
            search_pb2.Hit(product_id=name, item_id=f"i{rank}", score=float(score), match_probability=0.5)
            for rank, (name, score) in enumerate(zip(products, scores, strict=True))
        ]
        lines.append(f"q{number},{product}")
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def with_product(labelled: Path) -> list[str]:
    header, *lines = labelled.read_text().splitlines()
    return [header, *(line for line in lines if not line.endswith(","))]


def calibrate(target: str, *arguments: str | Path) -> int:
    return run(["calibrate", "--collection", "default", "--gateway", target, *map(str, arguments)])


def report(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_it_fits_shows_and_keeps(
    threaded_target: str, store: Any, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(threaded_target, "--pairs", labelled, "--json") == 0
    first = report(capsys)
    kept = store.collections["default"].match_calibration
    assert (first["queries"], first["before"], first["stored"]) == (QUERIES, None, True)
    assert kept.version == first["calibration"]["version"]
    assert kept.model_version == "m1"
    present = len(with_product(labelled)) - 1
    assert first["calibration"]["absent_share"] == pytest.approx(1 - present / QUERIES)
    assert first["after"]["queries"] == QUERIES
    assert first["after"]["ece"] < 0.15
    searches = [request for request in store.requests if isinstance(request, search_pb2.SearchRequest)]
    assert {(request.k, request.group_by_product) for request in searches} == {(DEPTH + 1, True)}
    # What the server says of each best hit is 0.5.
    assert calibrate(threaded_target, "--pairs", labelled, "--json") == 0
    before = report(capsys)["before"]
    assert set(before["reliability"]["predicted"]) == {0.5}
    assert before["ece"] > first["after"]["ece"]


def test_a_table_compares_before_and_after(
    threaded_target: str, store: Any, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(threaded_target, "--pairs", labelled) == 0
    said = capsys.readouterr()
    assert "expected calibration error" in said.out
    assert '"not here" below 0.5: precision, recall' in said.out
    assert "fitted to 300 labelled pairs" in " ".join(said.err.split())


def test_without_labels_of_what_is_absent_each_product_is_left_out(
    threaded_target: str, store: Any, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = with_product(labelled)
    labelled.write_text("\n".join(lines) + "\n")
    assert calibrate(threaded_target, "--pairs", labelled, "--json") == 0
    found = report(capsys)
    assert found["calibration"]["absent_share"] == 0.5
    assert found["calibration"]["fitted_searches"] == 2 * found["queries"] == 2 * (len(lines) - 1)
    assert calibrate(threaded_target, "--pairs", labelled, "--absent-share", "0.2", "--json") == 0
    assert report(capsys)["calibration"]["absent_share"] == 0.2


def test_a_dry_run_changes_nothing_and_a_reset_takes_it_away(
    threaded_target: str, store: Any, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collection = store.collections["default"]
    assert calibrate(threaded_target, "--pairs", labelled, "--dry-run") == 0
    assert "Nothing was changed" in capsys.readouterr().err
    assert not collection.HasField("match_calibration")
    assert calibrate(threaded_target, "--pairs", labelled) == 0
    assert collection.HasField("match_calibration")
    assert calibrate(threaded_target, "--reset") == 0
    assert not collection.HasField("match_calibration")


@pytest.mark.parametrize("arguments", [[], ["--pairs", "pairs.csv", "--reset"]])
def test_what_to_do_is_said_once(
    threaded_target: str, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert calibrate(threaded_target, *arguments) == 2
    assert "--pairs CSV or --reset (CONFIG_INVALID)" in capsys.readouterr().err


def test_too_few_queries_are_refused_and_nothing_is_kept(
    threaded_target: str, store: Any, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled.write_text("\n".join(labelled.read_text().splitlines()[:10]) + "\n")
    assert calibrate(threaded_target, "--pairs", labelled) == 2
    assert "a calibration needs 20 searches" in capsys.readouterr().err
    assert not store.collections["default"].HasField("match_calibration")
