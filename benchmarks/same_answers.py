"""Whether two checkouts answer random searches alike, refusals included.

    python -m benchmarks.same_answers --other PATH --searches 10000

PATH is another checkout with an extension of its own, such as a ``git worktree`` of an older commit in which
``make setup`` was run. Each starts a gateway and two hashers with this interpreter, gets the same items, and
builds its index from the stored rows. Hits are compared whole, their scores within ``--tolerance``, and
failures by code, reason, field, message and metadata. Ends with 1 where something differs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf import text_format
from google.rpc import error_details_pb2, status_pb2

from benchmarks.random_searches import Made, Message, Searches, items_of
from benchmarks.service.servers import MODEL, SEARCH_METHOD
from deploy.local.process import ROOT, LocalProcess
from lookalike.v1 import (
    catalog_pb2,
    catalog_pb2_grpc,
    collection_pb2,
    collection_pb2_grpc,
    search_pb2,
)
from lookalike.wire.channel import channel_options
from lookalike.wire.status import CODES_BY_NUMBER, DETAILS_KEY

COLLECTION = "same"
SHARDS = 2
BATCH = 200
CALLERS = 4
LOAD_SECONDS = 60.0
DEADLINE_SECONDS = 30.0
ATTEMPTS = 5
MULTI_SEARCH_METHOD = "/lookalike.v1.SearchService/MultiSearch"
OF_THE_MOMENT = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
"""What a busy machine can answer: where one checkout alone does, it is asked again."""
SHOWN_CHARACTERS = 600


class Process(LocalProcess):
    """A service of a checkout, on ports of its own choice."""

    def __init__(self, checkout: Path, service: str, folder: Path, name: str, *flags: str) -> None:
        self._ready = folder / f"{name}.ready"
        # The modules of the folder that it runs in come before those that are installed.
        moved = ["env", f"--chdir={checkout}", f"PYTHONPATH={checkout}", "PYTHONDONTWRITEBYTECODE=1"]
        command = [*moved, sys.executable, "-m", service, f"--ready-file={self._ready}"]
        ports = ["--port=0", "--metrics-port=0", "--drain-wait-seconds=0.1"]
        super().__init__([*command, *ports, *flags], folder / f"{name}.log")

    def start(self) -> Self:
        """Starts it, and waits until it listens."""
        self._ready.unlink(missing_ok=True)
        super().start()
        self.wait_until(self._ready.exists)
        return self

    @property
    def address(self) -> str:
        """Where it is called, of a hasher as the gateway's setting names it."""
        bound = json.loads(self._ready.read_text())
        search_port = bound.get("search_port")
        return f"127.0.0.1:{bound['port']}" + (f"/{search_port}" if search_port else "")


class Installation:
    """A gateway and its hashers, all of one checkout.

    Raises:
        FileNotFoundError: Its extension was not built.
    """

    def __init__(self, checkout: Path, folder: Path) -> None:
        if not list((checkout / "lookalike").glob("_native*.so")):
            raise FileNotFoundError(f"{checkout} has no extension: run make setup there")
        folder.mkdir()
        self._folder = folder
        self._checkout = checkout
        self._hashers = [
            Process(checkout, "hasher", folder, f"hasher-{shard}", *self._flags(shard))
            for shard in range(SHARDS)
        ]
        self._gateway: Process | None = None

    def _flags(self, shard: int) -> list[str]:
        numbers = [f"--shard={shard}", f"--shard-count={SHARDS}"]
        return [*numbers, f"--data-folder={self._folder / f'shard-{shard}'}"]

    def start(self) -> None:
        """Starts all processes."""
        hashers = ",".join(hasher.start().address for hasher in self._hashers)
        flags = (
            f"--hashers={hashers}",
            "--embedder=127.0.0.1:1",
            f"--data-folder={self._folder / 'gateway'}",
        )
        self._gateway = Process(self._checkout, "gateway", self._folder, "gateway", *flags).start()

    def stop(self) -> None:
        """Stops what runs."""
        for process in (self._gateway, *self._hashers):
            if process and process.is_running():
                process.stop()

    def channel(self) -> grpc.Channel:
        """Returns a channel to the gateway."""
        assert self._gateway, "it was not started"
        return grpc.insecure_channel(self._gateway.address, options=channel_options())

    def load(self, made: Made) -> None:
        """Writes all items, and starts again without the index that grew with them.

        How an index that grows is built again depends on moments; one that is built from the rows does not.
        """
        self.start()
        with self.channel() as channel:
            spec = collection_pb2.CollectionSpec(model_version=MODEL, dimension=made.vectors.shape[1])
            request = collection_pb2.CreateCollectionRequest(name=COLLECTION, spec=spec)
            create = collection_pb2_grpc.CollectionServiceStub(channel).CreateCollection
            create(request, timeout=LOAD_SECONDS, wait_for_ready=True)
            upsert = catalog_pb2_grpc.CatalogServiceStub(channel).UpsertItems
            for first in range(0, len(made.items), BATCH):
                answer = upsert(
                    catalog_pb2.UpsertItemsRequest(
                        collection=COLLECTION, request_id=f"w{first}", items=made.upserts(first, BATCH)
                    ),
                    timeout=LOAD_SECONDS,
                )
                if failed := [one for one in answer.results if one.HasField("error")]:
                    raise RuntimeError(f"an item was refused: {failed[0]}")
        self.stop()
        for index in self._folder.glob("shard-*/*/index-*"):
            shutil.rmtree(index)
        self.start()


@dataclass(frozen=True)
class Failure:
    """Why a search has no answer."""

    code: str
    reason: str
    field: str
    message: str
    metadata: str

    @classmethod
    def of_status(cls, status: status_pb2.Status) -> Self:
        """Reads the rich details."""
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in status.details:
            detail.Unpack(info)
            detail.Unpack(bad)
        fields = ", ".join(violation.field for violation in bad.field_violations)
        code = CODES_BY_NUMBER[status.code].name
        metadata = json.dumps(dict(info.metadata), sort_keys=True)
        return cls(code, info.reason, fields, status.message, metadata)

    @classmethod
    def of_call(cls, error: grpc.RpcError) -> Self:
        """Reads the failure of a call, with the details that it has."""
        for name, value in error.trailing_metadata() or ():
            if name == DETAILS_KEY:
                return cls.of_status(status_pb2.Status.FromString(value))
        return cls(error.code().name, "", "", error.details() or "", "{}")


Answer = search_pb2.SearchResponse | Failure


def parts(answer: Answer) -> dict[str, Any]:
    """Returns what must be the same, but for the scores."""
    if isinstance(answer, Failure):
        return asdict(answer)
    hits = []
    for hit in answer.hits:
        kept = type(hit)()
        kept.CopyFrom(hit)
        kept.ClearField("score")
        hits.append((hit.item_id, kept.SerializeToString(deterministic=True)))
    return {
        "code": "OK",
        "number of hits": len(hits),
        "set of hits": {item_id for item_id, _ in hits},
        "order of hits": [item_id for item_id, _ in hits],
        "content of hits": dict(hits),
        "coverage": answer.coverage.SerializeToString(deterministic=True),
        "predictions": [one.SerializeToString() for one in answer.predicted_categories],
        "model": answer.model_version,
    }


def differences(ours: Answer, theirs: Answer, tolerance: float) -> list[str]:
    """Returns the names of the parts in which two answers differ.

    With a tolerance, items whose scores are that near may change places, and be left out at the end.
    """
    mine, other = parts(ours), parts(theirs)
    if mine["code"] != other["code"]:
        return ["code"]
    found = [name for name in mine if mine[name] != other[name]]
    if isinstance(ours, Failure) or isinstance(theirs, Failure):
        return found
    pairs = list(zip(ours.hits, theirs.hits, strict=False))
    if any(abs(a.score - b.score) > tolerance for a, b in pairs):
        return [*found, "scores"]
    if tolerance and len(ours.hits) == len(theirs.hits):
        scores = [{hit.item_id: hit.score for hit in answer.hits} for answer in (ours, theirs)]
        last = min((hit.score for hit in (*ours.hits, *theirs.hits)), default=0.0)
        known = [[one.get(name, last) for one in scores] for name in {**scores[0], **scores[1]}]
        if all(abs(a - b) <= tolerance for a, b in known):
            found = [name for name in found if not name.endswith("of hits")]
    return found


@dataclass
class Found:
    """What became of all searches.

    Attributes:
        outcomes: ``OK``, or the code and reason of this checkout's failure → searches.
        differing: Part → searches.
        examples: The first of them.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    hits: int = 0
    differing: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, str]] = field(default_factory=list)

    def add(self, request: Any, answers: Sequence[Answer], tolerance: float, shown: int) -> None:
        """Counts one search."""
        ours, theirs = answers
        if isinstance(ours, Failure):
            self.outcomes[f"{ours.code} {ours.reason}".strip()] += 1
        else:
            self.outcomes["OK"] += 1
            self.hits += len(ours.hits)
        found = differences(ours, theirs, tolerance)
        self.differing.update(found)
        if found and len(self.examples) < shown:
            broken = isinstance(request, bytes)
            search = request.hex() if broken else text_format.MessageToString(request, as_one_line=True)
            texts = {"search": search, "this": _text(ours), "other": _text(theirs)}
            self.examples.append({"differs": ", ".join(found), **texts})


def _text(answer: Answer) -> str:
    if isinstance(answer, Failure):
        return str(answer)
    answer.ClearField("timing")
    return text_format.MessageToString(answer, as_one_line=True)


class Asking:
    """Asks one gateway."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._search = channel.unary_unary(SEARCH_METHOD)
        self._multi_search = channel.unary_unary(MULTI_SEARCH_METHOD)

    def __call__(self, message: Message) -> list[Answer]:
        """Returns the answer of a search, or one for each of several; a call that fails has one."""
        try:
            if not isinstance(message, search_pb2.MultiSearchRequest):
                encoded = message if isinstance(message, bytes) else message.SerializeToString()
                answer = self._search(encoded, timeout=DEADLINE_SECONDS)
                return [search_pb2.SearchResponse.FromString(answer)]
            answer = self._multi_search(message.SerializeToString(), timeout=DEADLINE_SECONDS)
        except grpc.RpcError as error:
            return [Failure.of_call(error)]
        return [
            Failure.of_status(one.error) if one.WhichOneof("outcome") == "error" else one.response
            for one in search_pb2.MultiSearchResponse.FromString(answer).results
        ]


def asked(askers: Sequence[Asking], message: Message) -> list[tuple[Message, list[Answer]]]:
    """Asks both; what a busy machine may be the reason of is asked again where one alone answers so."""
    for _ in range(ATTEMPTS):
        ours, theirs = (ask(message) for ask in askers)
        if _of_the_moment(ours) == _of_the_moment(theirs):
            break
    if len(ours) != len(theirs):
        return [(message, [ours[0], theirs[0]])]
    messages: Sequence[Message] = [message] * len(ours)
    if isinstance(message, search_pb2.MultiSearchRequest) and len(ours) == len(message.searches):
        messages = message.searches
    return [(one, [a, b]) for one, a, b in zip(messages, ours, theirs, strict=True)]


def _of_the_moment(answers: Sequence[Answer]) -> list[bool]:
    return [
        answer.code in OF_THE_MOMENT
        if isinstance(answer, Failure)
        else answer.coverage.shards_answered < answer.coverage.shards_total
        for answer in answers
    ]


def compare(checkouts: Sequence[Path], folder: Path, given: argparse.Namespace) -> Found:
    """Starts both, and sends them all searches."""
    made = items_of(given.items, given.dim, given.seed)
    found = Found()
    with ExitStack() as stack:
        askers = []
        for name, checkout in zip(("this", "other"), checkouts, strict=True):
            installation = Installation(checkout, folder / name)
            stack.callback(installation.stop)
            installation.load(made)
            askers.append(Asking(stack.enter_context(installation.channel())))
            print(f"{checkout}: {given.items:,} items are loaded", file=sys.stderr, flush=True)
        pool = stack.enter_context(ThreadPoolExecutor(CALLERS))
        searches = iter(Searches(made, COLLECTION, given.seed))
        for some in _batches(searches, given.searches):
            for pairs in pool.map(lambda message: asked(askers, message), some):
                for request, answers in pairs:
                    found.add(request, answers, given.tolerance, given.shown)
    return found


def _batches(searches: Iterator[Message], count: int) -> Iterator[list[Message]]:
    """Yields so many at a time that few answers wait to be compared."""
    for first in range(0, count, 100):
        yield list(itertools.islice(searches, min(100, count - first)))


def report(found: Found) -> str:
    """Returns what was compared, and what differs."""
    lines = [f"{found.outcomes.total():,} searches, {found.hits:,} hits"]
    lines += [f"  {count:,} {name}" for name, count in found.outcomes.most_common()]
    for example in found.examples:
        lines.append(f"\ndiffers: {example['differs']}")
        lines += [f"  {name}: {example[name][:SHOWN_CHARACTERS]}" for name in ("search", "this", "other")]
    parts_that_differ = ", ".join(f"{name} {count:,}" for name, count in found.differing.most_common())
    lines.append(f"\ndiffering: {parts_that_differ or 'nothing'}")
    return "\n".join(lines)


def main() -> None:
    """Compares, and ends with 1 where something differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--other", type=Path, required=True, help="a checkout with its extension")
    parser.add_argument("--searches", type=int, default=10_000, help="calls (default: 10,000)")
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tolerance", type=float, default=0.0, help="of scores; 0: the same arithmetic")
    parser.add_argument("--shown", type=int, default=20, help="examples of what differs")
    parser.add_argument("--json", type=Path, help="gets the examples whole")
    given = parser.parse_args()
    # What is started runs in sessions of its own: it has to be stopped when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="same-answers-") as folder:
        found = compare((ROOT, given.other.resolve()), Path(folder), given)
    print(report(found))
    if given.json:
        given.json.write_text(json.dumps(vars(found), indent=1))
    if found.differing:
        sys.exit(1)


if __name__ == "__main__":
    main()
