"""What match probabilities cost a search: ``python -m benchmarks.match_cost --bundle DIR``.

One installation (a gateway and two hashers as processes of their own) searches by embedding with and without
a calibration of the collection, in turns. With one, shards are asked for ten hits also where a search wants
fewer. Figures are CPU microseconds of the processes, by the kernel's clock of each, medians over the turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.tracing_cost import cpu_seconds
from deploy.local.stack import Server, Stack
from lookalike.client import Client, Item
from lookalike.matching import MatchCalibration

COLLECTION, MODEL, DIMENSION, SHARDS = "bench", "bench", 256, 2
CALIBRATION = MatchCalibration(20.0, 0.3, 0.3, 0.2)
KS = (1, 3, 10)
_ROWS_PER_PRODUCT = 3


def main() -> None:
    """Fills an installation, searches it, prints the costs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.match_cost", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="any model; its embedder is not asked")
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--searches", type=int, default=300, help="of each turn")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    flags = {"gateway": ("--recall-probe-interval-seconds=0", "--profile-interval-seconds=0")}
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), options.bundle, SHARDS, flags)
        try:
            stack.start()
            with stack.client() as client:
                _fill(client, options.items)
                found = _measured(stack, client, options)
        finally:
            stack.stop()
    for k, costs in found.items():
        print(f"k {k}: " + "; ".join(f"{name} {cost}" for name, cost in costs.items()))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def _vectors(count: int, seed: int) -> npt.NDArray[np.float32]:
    drawn = np.random.default_rng(seed).standard_normal((count, DIMENSION), np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn


def _fill(client: Client, items: int) -> None:
    client.create_collection(COLLECTION, model_version=MODEL, dimension=DIMENSION)
    rows = (
        Item(
            item_id=f"item-{number}",
            product_id=f"product-{number // _ROWS_PER_PRODUCT}",
            title="A title of about the usual length for a listing",
            category=("Kitchen", "Drinkware", "Mugs"),
            attributes={"colour": "white", "material": "ceramic", "pattern": "striped"},
            embedding=vector,
        )
        for number, vector in enumerate(_vectors(items, 0))
    )
    report = client.ingest(rows, collection=COLLECTION)
    assert report.acknowledged_count == items


def _measured(
    stack: Stack, client: Client, options: argparse.Namespace
) -> dict[str, dict[str, dict[str, float]]]:
    services = {"gateway": [stack.gateway], "hashers": stack.hashers}
    queries = _vectors(options.searches, 1)
    spent: dict[tuple[int, bool, str], list[float]] = defaultdict(list)
    for round_ in range(options.rounds + 1):
        for calibrated in (True, False) if round_ % 2 else (False, True):
            client.set_match_calibration(COLLECTION, CALIBRATION if calibrated else None, model_version=MODEL)
            for k in KS:
                before = seconds_of(services)
                for query in queries:
                    result = client.search(embedding=query, k=k, collection=COLLECTION)
                    assert bool(result.match_calibration_version) == calibrated
                if round_:  # the first warms up
                    for name, seconds in seconds_of(services).items():
                        cost = (seconds - before[name]) / len(queries) * 1e6
                        spent[k, calibrated, name].append(cost)
    return {
        str(k): {
            name: {
                state: round(statistics.median(spent[k, calibrated, name]), 1)
                for state, calibrated in (("without", False), ("with", True))
            }
            for name in services
        }
        for k in KS
    }


def seconds_of(services: Mapping[str, list[Server]]) -> dict[str, float]:
    """Returns the CPU seconds that the processes of each service have taken so far."""
    return {name: sum(cpu_seconds(one.popen.pid) for one in some) for name, some in services.items()}


if __name__ == "__main__":
    main()
