"""The parts of a soak: what it searches, how it counts answers, what its writer knows, what is sampled."""

from __future__ import annotations

import http.client
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from benchmarks.ingest import Vectors
from benchmarks.service.data import item_id
from benchmarks.service.generator import Found, Load, read_messages, write_messages
from benchmarks.soak import samples
from benchmarks.soak.callers import WRITES_A_DELETION, Repeated, Writing
from benchmarks.soak.run import _since
from benchmarks.soak.samples import Sampler, in_progress, metrics_of, sample
from benchmarks.soak.searches import PART_SUFFICES, Slices, mixed
from lookalike.errors import UnavailableError
from lookalike.v1 import search_pb2, types_pb2

DIM = 8


def test_searches_of_every_kind_are_sent_and_known_to_take_a_part() -> None:
    found = mixed(Vectors(DIM), 600, 50)
    requests = [(search_pb2.SearchRequest.FromString(message), part) for message, part in found]
    assert all((one.min_coverage == PART_SUFFICES) == part for one, part in requests)
    kinds = Counter(
        name
        for one, part in requests
        for name, there in {
            "part": part,
            "item": one.query.HasField("item_id"),
            "filter": one.HasField("filter"),
            "exact": one.exact,
            "many": one.k == 100,
        }.items()
        if there
    )
    assert set(kinds) == {"part", "item", "filter", "exact", "many"}
    rows = {int(one.query.item_id.removeprefix("item-")) for one, _ in requests if one.query.item_id}
    assert rows
    assert max(rows) < 50


def answer(answered: int) -> bytes:
    coverage = types_pb2.Coverage(shards_answered=answered, shards_total=2)
    return search_pb2.SearchResponse(coverage=coverage).SerializeToString()


def test_a_slice_counts_whole_answers_parts_and_failures(tmp_path: Path) -> None:
    searches = [(b"a", False), (b"b", True)]
    slices = Slices([], searches, Load(2.0, 5.0, seed=3), tmp_path)
    assert len(read_messages(tmp_path / "soak.requests")) >= 10
    file = write_messages(tmp_path / "soak-4.answers", [answer(2), answer(1), answer(2)])
    missing = b"\xff\xff\xff\xff"
    # Of the two without an answer the second takes a part; what follows was never due.
    file.write_bytes(file.read_bytes() + missing * 5)
    outcome = Found(2.0, {"OK": 3, "UNAVAILABLE": 1}, 2, 1.5, {"p50": 1000.0, "p99": 5000.0}, {}, {})
    found = slices.counted(4, outcome, 20.0, True, 0.5)
    assert (found.sent, found.whole, found.part) == (6, 2, 1)
    assert found.failed == {"UNAVAILABLE": 1, "UNSENT": 2}
    assert found.part_failed == 2  # the fourth and the sixth
    assert (found.p50_ms, found.p99_ms) == (1.0, 5.0)
    assert not file.exists()


@dataclass
class Catalogue:
    """A client whose items are in memory.

    Attributes:
        fail: Writes fail.
        refuse: Writes are acknowledged, but for some of their items.
        lose: Writes are acknowledged, and nothing is done.
    """

    there: set[str]
    fail: bool = False
    refuse: bool = False
    lose: bool = False
    deleted: list[str] = field(default_factory=list)

    def upsert(self, items: Iterable[Any], collection: str) -> Any:
        return self._write(self.there.update, {one.item_id for one in items})

    def delete(self, item_ids: Iterable[str], collection: str) -> Any:
        self.deleted += (names := list(item_ids))
        return self._write(self.there.difference_update, set(names))

    def _write(self, act: Any, names: set[str]) -> Any:
        if self.fail:
            raise UnavailableError("away")
        if not self.lose:
            act(names)
        return SimpleNamespace(failures=[SimpleNamespace(error="REFUSED")] * self.refuse)

    def get(self, item_ids: Iterable[str], collection: str) -> Any:
        return SimpleNamespace(missing_item_ids=[one for one in item_ids if one not in self.there])


def writer(count: int = 10) -> tuple[Writing, Catalogue]:
    rows = range(100, 100 + count)
    client = Catalogue({item_id(row) for row in rows})
    return Writing(client, Vectors(DIM), rows), client  # type: ignore[arg-type]


def test_the_writer_deletes_now_and_then_and_loses_nothing() -> None:
    writing, client = writer(60)
    kinds = [writing() for _ in range(3 * (WRITES_A_DELETION + 1))]
    assert Counter(kinds) == {("upsert", "ok"): 9, ("deletion", "ok"): 3}
    assert client.deleted
    assert writing.lost() == []


def test_a_write_that_was_acknowledged_and_is_not_there_is_lost() -> None:
    writing, client = writer(60)
    writing()
    client.there.discard(item_id(100))
    assert writing.lost() == [item_id(100)]


def test_a_deletion_that_was_acknowledged_and_not_done_is_lost() -> None:
    writing, client = writer()
    for _ in range(WRITES_A_DELETION):
        writing()
    client.lose = True
    assert writing() == ("deletion", "ok")
    assert len(writing.lost()) == 10


def test_what_became_of_a_write_that_failed_is_not_known_until_the_next() -> None:
    writing, client = writer()
    client.fail = True
    assert writing()[1] != "ok"
    client.there.clear()
    assert writing.lost() == []
    client.fail, client.lose = False, True
    writing()
    assert len(writing.lost()) == 10


def test_of_a_write_of_which_items_were_refused_nothing_is_known() -> None:
    writing, client = writer()
    client.refuse = True
    assert writing() == ("upsert", "REFUSED")
    client.there.clear()
    assert writing.lost() == []


def test_a_thing_is_done_again_and_again_until_it_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    outcomes, reached = [("search", "ok")] * 3, threading.Event()

    def act() -> tuple[str, str]:
        if not outcomes:
            reached.set()
        return outcomes.pop()

    with Repeated(act, 1000.0) as repeated:
        assert reached.wait(60)
    assert isinstance(repeated.broken, IndexError)
    assert [one.outcome for one in repeated.outcomes] == ["ok"] * 3
    (last,) = _since(repeated.outcomes, repeated.outcomes[-1].began)
    assert last.began == 0
    assert last.ended >= 0


def test_a_rate_of_nothing_is_never_done() -> None:
    with Repeated(lambda: ("upsert", "ok"), 0.0) as repeated:
        repeated._thread.join(60)
    assert (repeated.outcomes, repeated.broken) == ([], None)


PAGE = """\
# TYPE lookalike_calls_in_progress gauge
lookalike_calls_in_progress{method="Search"} 2
lookalike_calls_in_progress{method="Write"} 0
# TYPE lookalike_hasher_waiting_searches gauge
lookalike_hasher_waiting_searches{kind="probe"} 1
# TYPE lookalike_hasher_index_bytes gauge
lookalike_hasher_index_bytes{collection="c"} 512
# TYPE lookalike_something gauge
lookalike_something 3
"""


class Page(BaseHTTPRequestHandler):
    said: ClassVar[str] = PAGE
    more: ClassVar[int] = 0
    """Bytes that are announced and never come."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.said) + self.more))
        self.end_headers()
        self.wfile.write(self.said.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(page: type[Page] = Page) -> Iterator[Any]:
    """A server whose process is this one."""
    with HTTPServer(("127.0.0.1", 0), page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield SimpleNamespace(
                name="it", metrics_port=server.server_port, popen=SimpleNamespace(pid=os.getpid())
            )
        finally:
            server.shutdown()
            thread.join()


def test_calls_under_way_are_found_and_probes_are_not() -> None:
    with served() as server:
        assert metrics_of(server)["lookalike_hasher_index_bytes c"] == 512
        assert "lookalike_something" not in metrics_of(server)
        assert in_progress(server) == {"lookalike_calls_in_progress Search": 2.0}


def test_a_sample_holds_what_the_kernel_says_of_the_process() -> None:
    with served() as server:
        found = sample(server, 5.0)
    assert found
    assert (found.seconds, found.process, found.pid) == (5.0, "it", os.getpid())
    assert 0 < found.anonymous_mb <= found.resident_mb
    assert found.descriptors > 2
    assert found.threads >= 2


class Torn(Page):
    more = 100


def test_a_process_that_is_killed_while_it_answers_has_no_sample() -> None:
    with served(Torn) as server:
        with pytest.raises(http.client.IncompleteRead):
            metrics_of(server)
        assert sample(server, 5.0) is None
    assert sample(server, 5.0) is None  # Nobody listens any more.


def test_what_breaks_the_sampler_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    reached = threading.Event()

    def break_down(*_: object) -> None:
        reached.set()
        raise ZeroDivisionError

    monkeypatch.setattr(samples, "sample", break_down)
    with Sampler([SimpleNamespace()], 0.01) as sampler:  # type: ignore[list-item]
        assert reached.wait(60)
    assert isinstance(sampler.broken, ZeroDivisionError)
