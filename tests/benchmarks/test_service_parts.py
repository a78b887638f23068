"""The parts of the benchmark of the served system: what it counts, compares and writes."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.engine.catalogue import exact_top
from benchmarks.service import cli, generator, peers
from benchmarks.service.accounting import cpu_seconds, cpu_seconds_of
from benchmarks.service.data import Data, overlap, recall_of
from benchmarks.service.generator import Found, Load
from benchmarks.service.plot import plot_compared, plot_loads
from benchmarks.service.postgres import BUILDS, Build
from benchmarks.service.report import as_json, compared_table, loads_table, medians
from benchmarks.service.subjects import Measured, Subject
from lookalike.v1 import catalog_pb2, search_pb2

BURN = "import time\nwhile time.process_time() < 0.5: pass\n"
TIMES = {"mean": 2e3, "p50": 1e3, "p90": 2e3, "p95": 2e3, "p99": 3e3, "p99.9": 4e3, "max": 5e3}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data.load(500, 16, 7, 40, tmp_path_factory.mktemp("cache"), lambda _: None)


def found(statuses: dict[str, int], unsent: int = 0, rate: float = 100.0) -> Found:
    return Found(1.0, statuses, unsent, rate, TIMES if statuses.get("OK") else {}, {}, {})


def measured(subject: str, load: str, asked: float | None, cpu_ms: dict[str, float], **more: Any) -> Measured:
    outcome = more.pop("found", found({"OK": 100}))
    return Measured(subject, load, asked, outcome, cpu_ms, more.pop("recall", 0.99), 0.0, **more)


def test_what_children_used_counts_while_they_run_and_when_they_have_ended() -> None:
    child = f"subprocess.run([sys.executable, '-c', {BURN!r}])"
    code = f"import subprocess, sys\n{child}\nprint('done', flush=True)\ninput()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        process.stdout.readline()
        assert cpu_seconds(process.pid) >= 0.5
        assert cpu_seconds_of({"one": process.pid}) == {"one": cpu_seconds(process.pid)}
    finally:
        process.communicate(b"\n")
    with pytest.raises(ProcessLookupError):
        cpu_seconds(process.pid)


def test_messages_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = generator.write_messages(tmp_path / "messages", [b"one", b"", b"three"])
    assert generator.read_messages(file) == [b"one", b"", b"three"]
    file.write_bytes(struct.pack("<I", generator.MISSING) + file.read_bytes())
    assert generator.read_messages(file) == [None, b"one", b"", b"three"]


def test_a_load_has_a_rate_or_callers() -> None:
    assert {"open", "--rate=7.5", "--seconds=3"} <= set(Load(3, 7.5).flags)
    closed = Load(3, callers=5).flags
    assert {"closed", "--callers=5"} <= set(closed)
    assert not any(flag.startswith("--rate") for flag in closed)


def test_what_was_not_sent_has_failed() -> None:
    assert found({"OK": 5, "UNAVAILABLE": 2}, unsent=3).failed == 5


def test_the_right_hits_of_an_item_are_its_neighbours_without_itself(data: Data) -> None:
    searches, truth = data.item_searches()
    assert len(searches) == len(truth) == 40
    for encoded, right in zip(searches, truth, strict=True):
        request = search_pb2.SearchRequest.FromString(encoded)
        row = int(request.query.item_id.removeprefix("item-"))
        nearest = exact_top(data.catalogue.vectors, data.catalogue.vectors[row : row + 1], 11)[0]
        assert right == {f"item-{other}" for other in nearest if other != row}
        assert not request.group_by_product


def test_searches_hold_the_vectors_and_the_options(data: Data) -> None:
    (request, *_), rows = map(search_pb2.SearchRequest.FromString, data.searches(effort=0.5)), data.vectors
    np.testing.assert_array_equal(np.array(request.query.embedding.values, np.float32), rows[0])
    assert (request.k, request.effort, request.collection) == (10, 0.5, "bench")


def test_writes_replace_items_by_themselves_under_new_ids(data: Data) -> None:
    requests = [
        catalog_pb2.UpsertItemsRequest.FromString(one) for one in data.writes(20, 5) + data.writes(20, 5)
    ]
    assert len({request.request_id for request in requests}) == 40
    items = {item.item_id: item for item in data.items()}
    for written in (written for request in requests for written in request.items):
        own = items[written.item.item_id]
        assert own.embedding is not None
        np.testing.assert_array_equal(np.array(written.embedding.values, np.float32), own.embedding)
        assert written.item.title == own.title


def test_recall_is_the_share_of_right_hits_over_the_answers() -> None:
    truth = [{"a", "b"}, {"c", "d"}, {"e", "f"}]
    assert overlap([{"a", "x"}, None, {"e", "f"}], truth) == 0.75
    answer = search_pb2.SearchResponse(hits=[search_pb2.Hit(item_id="a")]).SerializeToString()
    assert recall_of(truth)([answer, None, None]) == 0.5


COSTS = {"slow": (1, 3.0), "quick": (2, 1.0), "weak": (99, 0.1)}
"""Build → the breadth that suffices, and the cost."""


class Tuning:
    """Builds of an index whose recall and cost are known, and what was made of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        monkeypatch.setattr(peers, "measure", self._measure)

    def _measure(self, subject: Subject, *_: object) -> Measured:
        build, breadth = subject.name.split()
        enough, cost = COSTS[build]
        return measured(build, "", None, {"p": cost}, recall=0.99 if int(breadth) >= enough else 0.5)

    def tuned(self, builds: Sequence[str]) -> Subject:
        class Plan:
            recall = 0.98
            folder = Path()
            progress = staticmethod(lambda _: None)

        def at(build: str, breadth: int) -> Subject:
            return Subject(f"{build} {breadth}", [], {}, Path())

        return peers.tuned(Plan(), "it", builds, self.made.append, at, [1, 2, 3])  # type: ignore[arg-type]


def test_the_cheapest_build_with_enough_recall_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    tuning = Tuning(monkeypatch)
    assert tuning.tuned(["slow", "quick", "weak"]).name == "quick 2"
    assert tuning.made == ["slow", "quick", "weak", "quick"]


def test_a_server_that_does_not_reach_the_recall_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match=r"does not reach a recall of 0\.98"):
        Tuning(monkeypatch).tuned(["weak"])


LOADS = [
    measured("by embedding, 2 shards", "closed", None, {"gateway": 1.0, "hasher-0": 0.5, "hasher-1": 0.25}),
    measured("by embedding, 2 shards", "50%", 50.0, {"gateway": 1.0, "hasher-0": 0.5, "hasher-1": 0.25}),
    measured(
        "by embedding, 2 shards",
        "150%",
        150.0,
        {"gateway": 2.0},
        found=found({"OK": 50, "UNAVAILABLE": 30}, 20),
    ),
    measured(
        "by embedding, 2 shards",
        "200%",
        200.0,
        {"gateway": 2.0},
        found=found({"UNAVAILABLE": 9}),
        recall=None,
    ),
]


@pytest.mark.parametrize("build", BUILDS, ids=str)
def test_a_build_is_read_as_it_is_shown(build: Build) -> None:
    assert Build.parse(str(build)) == build


@pytest.mark.parametrize("text", ["24/128", "24/128/f8", "m/128/f16"])
def test_what_is_no_build_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|neither|invalid literal"):
        Build.parse(text)


def test_the_table_of_loads_sums_hashers_and_names_failures() -> None:
    header, _, closed, half, most, none = loads_table(LOADS).splitlines()
    cells = dict(zip(header.split(" | "), half.split(" | "), strict=True))
    assert (cells["CPU ms: gateway"], cells["hashers"], cells["all"], cells["p99 ms"]) == (
        "1.00",
        "0.75",
        "1.75",
        "3.0",
    )
    assert "30.0% UNAVAILABLE, 20.0% not sent" in most
    assert "100.0% UNAVAILABLE" in none
    assert closed


def test_servers_are_compared_by_medians_of_their_rounds() -> None:
    rounds = [measured("it", "50%", 5.0, {"gateway": cost, "hasher-0": 1.0}) for cost in (1.0, 9.0, 2.0)]
    echo = [measured("bare grpc.aio", "50%", 5.0, {"echo": 0.5})]
    most = [measured(one.subject, "closed", None, one.cpu_ms) for one in (rounds[0], echo[0])]
    rows = medians([*most, *rounds, *echo])
    assert rows["it"]["cpu_ms"] == 3.0
    assert rows["it"]["processes"] == {"gateway": 2.0, "hasher-0": 1.0}
    assert (
        "| it | 100 | 3.000 (gateway 2.000, hasher-0 1.000) | 6.00 | 1.00 | 3.00 | 0.9900 |"
        in compared_table([*most, *rounds, *echo])
    )


def test_pictures_are_drawn_also_of_loads_without_answers(tmp_path: Path) -> None:
    plot_loads(LOADS, "title", tmp_path / "loads.png")
    plot_compared(medians(LOADS[:2]), "title", tmp_path / "compared.png")
    assert (tmp_path / "loads.png").stat().st_size > 1000
    assert (tmp_path / "compared.png").stat().st_size > 1000


def test_the_json_has_every_figure() -> None:
    (first, *_) = as_json(LOADS)
    assert first["total_cpu_ms"] == 1.75
    assert first["found"]["statuses"] == {"OK": 100}


def test_an_unknown_section_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--only", "shards,other"])
    assert "unknown other; use shards, kinds, writes, peers" in capsys.readouterr().err


def test_a_generator_that_was_not_built_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("LOOKALIKE_LOAD", str(tmp_path / "none"))
    assert cli.main([]) == 2
    assert (
        capsys.readouterr().err == f"error: {tmp_path / 'none'} is missing; make load-generator builds it\n"
    )
