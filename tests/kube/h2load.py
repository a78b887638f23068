"""``python -m tests.kube.h2load TARGET COLLECTION FILE``: one search by photo, sent by h2load all the time.

With ``--once`` for the file it is one run, whose line is printed.

Every two seconds begins a run of h2load of its own, over new connections, which is a line of the file. What
h2load calls succeeded is an answer of HTTP, which gRPC's errors are, too; they are counted by the heads that
it prints. Whether a search was answered in part stands in the answer itself, of which h2load shows nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import struct
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import grpc

from tests.kube.load import TIMEOUT_SECONDS, search_of

CONNECTIONS = 4
SECONDS = 2
COUNT = CONNECTIONS * SECONDS
"""Requests of a run: one a second on each connection."""
_SUMMARY = re.compile(
    r"^requests: (\d+) total, (\d+) started, \d+ done, (\d+) succeeded,"
    r".*\nstatus codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx",
    re.MULTILINE,
)
# gRPC's servers answer a call that fails before its answer with one head, which has the status.
_STATUS = re.compile(r"^\[stream_id=\d+\] grpc-status: (\d+)$", re.MULTILINE)
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


def encoded(request: Any) -> bytes:
    """A message as gRPC sends it: not compressed, its length, its bytes."""
    body: bytes = request.SerializeToString()
    return struct.pack(">BI", 0, len(body)) + body


def command(target: str, request: Path) -> list[str]:
    """The command line of a run.

    It has a number of requests and no ``--duration``: after the loss of a connection, h2load would then send
    less, and count nothing as failed.
    """
    return [
        *("h2load", "--verbose", f"--requests={COUNT}", f"--clients={CONNECTIONS}", "--rps=1"),
        # Of the requests on one connection none waits for another one.
        *("--max-concurrent-streams=100", f"--connection-inactivity-timeout={TIMEOUT_SECONDS:g}"),
        *(f"--data={request}", "--header=content-type: application/grpc", "--header=te: trailers"),
        f"http://{target}/lookalike.v1.SearchService/Search",
    ]


def outcomes(printed: str) -> Counter[str]:
    """What became of a run's requests: ``complete``, gRPC's code, or how HTTP failed.

    Raises:
        ValueError: There is no summary in what h2load printed.
    """
    if not (found := _SUMMARY.search(printed)):
        raise ValueError(f"h2load says nothing of its requests: {printed[-2000:]}")
    total, started, succeeded, *others = map(int, found.groups())
    errors = Counter(_CODES[int(code)] for code in _STATUS.findall(printed) if int(code))
    came = {
        "complete": succeeded - others[0] - errors.total(),
        "HTTP status": sum(others),
        "no answer": started - succeeded - sum(others[1:]),
        "no connection": total - started,
    }
    return +(errors + Counter(came))


async def once(target: str, request: Path, file: TextIO) -> None:
    """Sends the requests of a run, and writes what became of them."""
    sent = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command(target, request), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    came = Counter({"no answer": COUNT})
    try:
        with suppress(TimeoutError):
            printed, _ = await asyncio.wait_for(process.communicate(), SECONDS + TIMEOUT_SECONDS + 1)
            came = outcomes(printed.decode())
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    print(json.dumps({"sent": sent, "how": "h2load", "outcomes": came}), file=file, flush=True)


async def run(target: str, request: Path, file: TextIO) -> None:
    """Begins runs when they are due, however long others take."""
    running: set[asyncio.Task[None]] = set()
    start = time.monotonic()
    for number in range(10**9):
        await asyncio.sleep(max(0.0, start + number * SECONDS - time.monotonic()))
        for task in [one for one in running if one.done()]:
            running.remove(task)
            task.result()
        running.add(asyncio.create_task(once(target, request, file)))


def problem() -> str:
    """Why it cannot run, or nothing."""
    return "" if shutil.which("h2load") else "h2load not found; `make kube-install` installs it"


def main() -> None:
    target, collection, path = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder) / "request"
        request.write_bytes(encoded(search_of(0, collection).request))
        if path == "--once":
            asyncio.run(once(target, request, sys.stdout))
            return
        with Path(path).open("a") as file:
            asyncio.run(run(target, request, file))


if __name__ == "__main__":
    main()
