"""A write-ahead log with a damaged end: the rows go back to a state that there was, and so does the index."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import Server
from tests.faults.hasher_load import GENERATION, HasherLoad
from tests.faults.load import GONE

CALLS = 40


def cut(wal: bytes) -> bytes:
    return wal[: len(wal) * 2 // 3 + 5]


def zeroed(wal: bytes) -> bytes:
    return cut(wal).ljust(len(wal), b"\0")


def flipped(wal: bytes) -> bytes:
    at = len(wal) * 2 // 3
    return wal[:at] + bytes([wal[at] ^ 1]) + wal[at + 1 :]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """The data folder of a hasher that was killed after calls, all of them answered, and the calls.

    Its index was saved more than once meanwhile.
    """
    folder = tmp_path_factory.mktemp("killed")
    load = HasherLoad(3, plain=True)
    server = start(load, folder, "0.05")
    rng = random.Random(3)
    calls = [load.random_call(0, rng) for _ in range(CALLS)]
    for call in calls:
        load.send(call)
    server.kill()
    return folder / "data", calls


def start(load: HasherLoad, folder: Path, checkpoint_seconds: str) -> Server:
    flags = [f"--data-folder={folder / 'data'}", f"--checkpoint-interval-seconds={checkpoint_seconds}"]
    server = Server(["hasher", *flags], folder)
    load.connect(server.port, server.search_port)
    return server


def states_of(calls: list[Any]) -> dict[str, str]:
    """Returns the items that there are after calls."""
    states = {}
    for call in calls:
        states.update(HasherLoad(0).states_after(call))
    return {name: state for name, state in states.items() if state != GONE}


@pytest.mark.parametrize("damage", [cut, zeroed, flipped])
def test_rows_go_back_to_a_state_that_there_was_and_take_the_rest_again(
    killed: tuple[Path, list[Any]], damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    source, calls = killed
    shutil.copytree(source, tmp_path / "data")
    log = tmp_path / "data" / GENERATION / "rows.sqlite-wal"
    log.write_bytes(damage(log.read_bytes()))
    load = HasherLoad(3, plain=True)
    server = start(load, tmp_path, "300")
    try:
        found = load.found()
        assert found.pop(GENERATION)
        states = [states_of(calls[:count]) for count in range(CALLS + 1)]
        assert 0 < states.index(found) < CALLS
        assert load.wrong(found) == []

        for call in calls:
            load.send(call)
        found = load.found()
        assert found.pop(GENERATION)
        assert found == states[-1]
        assert load.wrong(found) == []
    finally:
        server.kill()
