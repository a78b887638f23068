"""The benchmark of the served system: that it measures real processes, not how fast they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.service import cli, peers, photos, subjects

SMALL = ["--items", "2000", "--dim", "32", "--queries", "100", "--seconds", "1"]


@pytest.fixture(autouse=True)
def briefly(load_generator: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "WARM_SECONDS", 0.5)


def run(section: str, bundle: Path, folder: Path, *flags: str) -> dict[str, Any]:
    where = ["--bundle", str(bundle), "--cache", str(folder / "cache"), "--out", str(folder / "out")]
    assert cli.main([*SMALL, "--only", section, *where, *flags]) == 0
    found: dict[str, Any] = json.loads((folder / f"out/service-{section}-cat-32-2000-seed7.json").read_text())
    assert (folder / f"out/service-{section}-cat-32-2000-seed7.md").read_text().startswith(f"## {section}: ")
    return found


def test_loads_of_searches_by_embedding(tiny_bundle: Path, tmp_path: Path) -> None:
    found = run("shards", tiny_bundle, tmp_path, "--shards", "2", "--loads", "50")
    closed, half = found["measured"]
    assert (closed["load"], half["load"]) == ("closed", "50%")
    for one in (closed, half):
        assert set(one["found"]["statuses"]) == {"OK"}
        assert set(one["cpu_ms"]) == {"gateway", "hasher-0", "hasher-1"}
        assert all(cost > 0 for cost in one["cpu_ms"].values())
        assert one["recall"] > 0.9
    times = half["found"]["latency_us"]
    assert 0 < times["p50"] <= times["p99"] <= times["max"]


def test_searches_while_items_are_written(tiny_bundle: Path, tmp_path: Path) -> None:
    _, *loads = run("writes", tiny_bundle, tmp_path, "--items-written", "200")["measured"]
    assert [bool(one["writes"]) for one in loads] == [False, True, False, True]
    for one in loads[1::2]:
        assert one["writes"]["statuses"]["OK"] > 0
        assert one["recall"] > 0.9


def test_searches_by_item_id_and_by_photo(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "ITEMS", 500)
    monkeypatch.setattr(photos, "PHOTOS", 20)
    found = run("kinds", tiny_bundle, tmp_path, "--loads", "50")
    by_item, _, by_photo, _ = found["measured"]
    assert (by_item["subject"], by_photo["subject"]) == ("by item id, 2 shards", "by photo, 2 shards")
    assert by_item["recall"] > 0.9
    assert by_photo["recall"] > 0.9
    assert set(by_photo["cpu_ms"]) == {"gateway", "hasher-0", "hasher-1", "embedder"}


def test_bare_echoes_answer_as_many_bytes(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "SCREEN_SECONDS", 0.5)
    found = run("peers", tiny_bundle, tmp_path, "--peers", "echoes", "--rounds", "1", "--recall", "0.8")
    rows = found["medians"]
    assert list(rows) == ["Lookalike, 2 shards", "Lookalike, 1 shard", "bare grpc.aio", "bare tonic"]
    assert rows["Lookalike, 1 shard"]["recall"] >= 0.8
    assert all(row["most_per_second"] > 0 for row in rows.values())
