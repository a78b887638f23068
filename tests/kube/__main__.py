"""``make kube``: the images on a real node, and what becomes of searches while things are done to them."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from deploy.local import kube, node
from tests.deploy.releases import NAME, OBJECTS
from tests.kube import h2load, images
from tests.kube import limits as may
from tests.kube.installation import COLLECTION, WAYS, Installation

# Each takes less than the server, which so is the largest when the memory is gone.
_ALLOCATE = """
import os, time
for _ in range(60):
    if not os.fork():
        taken = b"x" * (64 << 20)
        break
time.sleep(60)
"""


class Action(NamedTuple):
    """Something that is done to the installation, and what it may cost."""

    act: Callable[[], object]
    limits: may.Limits


def restart(made: Installation, kind: str, name: str) -> Callable[[], object]:
    """Makes all pods of a Deployment or StatefulSet again."""
    what = f"{kind}/{OBJECTS}-{name}"
    release = made.release

    def act() -> None:
        release.kubectl("rollout", "restart", what)
        release.kubectl("rollout", "status", what, "--timeout=230s")

    return act


def actions(made: Installation) -> dict[str, Action]:
    """What is done to the installation, by name."""

    def kill(component: str) -> Callable[[], object]:
        def act() -> None:
            pod = made.pod(component)
            os.kill(made.node.processes(pod)[0], signal.SIGKILL)
            assert made.wait_until_restarted(pod)["exitCode"] == 137

        return act

    def lose_node() -> None:
        before = [
            pod for component in ("gateway", "hasher", "embedder") for pod in made.release.pods(component)
        ]
        made.node.lose()
        made.node.come_back()
        for pod in before:
            made.wait_until_restarted(pod)

    embedders = restart(made, "deployment", "embedder")
    hashers = restart(made, "statefulset", "hasher-r0")
    gateway = restart(made, "deployment", "gateway")
    return {
        "rolling restart of the embedders": Action(embedders, may.NOTHING_FAILS),
        "rolling restart of the hashers": Action(hashers, may.SHARDS_ARE_AWAY),
        "restart of the gateway": Action(gateway, may.ONE_GATEWAY),
        "SIGKILL of an embedder": Action(kill("embedder"), may.KILLED),
        "SIGKILL of a hasher": Action(kill("hasher"), may.SHARDS_ARE_AWAY),
        "SIGKILL of the gateway": Action(kill("gateway"), may.ONE_GATEWAY),
        "an embedder out of memory": Action(lambda: exhaust(made, "embedder"), may.STARVED),
        "loss of the node, and its return": Action(lose_node, may.ONE_NODE),
    }


def actions_with_triton(made: Installation) -> dict[str, Action]:
    """What is done when the embedders compute in Triton, by name and in this order."""

    def use(placement: str) -> Action:
        return Action(lambda: made.use_triton(placement), may.NOTHING_FAILS)

    look_at = Action(lambda: search(made), may.NOTHING_FAILS)
    embedders = restart(made, "deployment", "embedder")
    triton = restart(made, "deployment", "triton")
    return {
        "upgrade to Triton in the embedders' pods": use("pod"),
        "search by photo through Triton in the embedders' pods": look_at,
        "rolling restart of the embedders with Triton": Action(embedders, may.NOTHING_FAILS),
        "upgrade to Triton in a pod of its own": use("deployment"),
        "search by photo through Triton in a pod of its own": look_at,
        "rolling restart of Triton": Action(triton, may.ONE_TRITON),
    }


def exhaust(made: Installation, component: str) -> None:
    """Takes all memory that a pod may have; the kernel then ends its server."""
    pod = made.pod(component)
    server = made.node.processes(pod)[0]
    # Of processes that are protected alike the kernel ends the largest.
    Path(f"/proc/{server}/oom_score_adj").write_text("1000")
    with pytest.raises(RuntimeError, match="exit code 137"):
        made.release.kubectl("exec", pod["metadata"]["name"], "--", "python", "-c", _ALLOCATE)
    assert made.wait_until_restarted(pod)["reason"] == "OOMKilled"


def search(made: Installation) -> None:
    """Runs the chart's own test, a search by photo."""
    try:
        made.release.helm("test", NAME, "--timeout=120s")
    except RuntimeError as error:
        raise RuntimeError(f"{error}\n{made.release.kubectl('logs', f'{OBJECTS}-test')}") from error


def look(made: Installation) -> None:
    """Does what the docs say about looking into pods."""
    gateway = f"deployment/{OBJECTS}-gateway"
    assert '"event": "serving"' in made.release.kubectl("logs", gateway)
    assert made.release.kubectl("exec", gateway, "--", "id", "-u").strip() == "65532"
    command = ["kubectl", f"--kubeconfig={made.cluster.kubeconfig}", f"--namespace={made.release.namespace}"]
    forward = ["port-forward", f"service/{OBJECTS}-gateway", "17700:7700"]
    process = made.cluster.run_server("port-forward", str(kube.TOOLS / "kubecp"), *command, *forward)
    process.wait_until(lambda: "Forwarding from" in process.said())
    made.python("tests.kube.fill", "127.0.0.1:17700", COLLECTION, where=made.cluster.inside)
    process.stop()


def compare_counts(made: Installation) -> None:
    """Checks that what is counted of h2load's searches is what the gateway counts, failures included."""
    for collection, outcome, code in ((COLLECTION, "complete", "OK"), ("absent", "NOT_FOUND", "NOT_FOUND")):
        before = made.handled()
        found = made.python("tests.kube.h2load", made.target, collection, "--once")
        assert json.loads(found)["outcomes"] == {outcome: h2load.COUNT}, found
        assert made.handled() - before == {code: h2load.COUNT}


def timed(step: str, action: Callable[[], object]) -> None:
    """Does something, and prints how long it took."""
    start = time.monotonic()
    action()
    print(f"{time.monotonic() - start:6.1f} s  {step}", flush=True)


def cells_of(how: str, outcomes: Counter[str]) -> list[str]:
    """How many searches were sent, failed, and were answered in part, which h2load does not see."""
    failed = {code: count for code, count in outcomes.items() if code not in may.ANSWERED}
    codes = ", ".join(f"{code} {count}" for code, count in sorted(failed.items()))
    parts = [] if how == "h2load" else [str(outcomes["partial"])]
    return [str(outcomes.total()), codes or "0", *parts]


def measure(made: Installation, name: str, action: Action) -> list[str]:
    """Does something while searches go on, prints what became of them, and returns what should not have."""
    seconds, found = made.measure(action.act)
    cells = [cell for how in WAYS for cell in cells_of(how, found[how])]
    print(f"| {name} | {seconds:.1f} s | {' | '.join(cells)} |", flush=True)
    return [f"{name}: {problem}" for problem in may.problems(action.limits, found)]


def run(made: Installation, only: str) -> list[str]:
    """Installs, looks, does everything, and looks whether all data are still there.

    Returns:
        Which searches should not have failed.
    """
    timed("images built where that was due, and loaded", made.load_images)
    timed("install, until the pods' own probes let them be ready", made.install)
    timed("helm test: search by photo", lambda: search(made))
    timed("a collection filled from outside", made.fill)
    timed("kubectl logs, exec and port-forward", lambda: look(made))
    timed("h2load counts what the gateway counts", lambda: compare_counts(made))
    made.start_searches()
    made.add_model_volume()
    print("\n| action | ready after | by h2load | failed | sent once | failed | in part ", end="")
    print("| by the client | failed | in part |\n|---|---|---|---|---|---|---|---|---|---|")
    problems: list[str] = []
    for name, action in (actions(made) | actions_with_triton(made)).items():
        if only in name:
            problems += measure(made, name, action)
    made.stop_searches()
    print()
    timed("all items are there and find themselves", made.fill)
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kube", description=__doc__)
    parser.add_argument("--only", default="", help="actions with this in their names")
    arguments = parser.parse_args()
    if reason := kube.problem() or node.problem() or h2load.problem() or images.problem():
        print(f"error: {reason}", file=sys.stderr)
        return 2
    start = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="kube-") as folder,
        node.real_cluster(Path(folder)) as (cluster, made),
    ):
        print(f"{time.monotonic() - start:6.1f} s  a cluster with one node")
        problems = run(Installation(cluster, made), arguments.only)
    print("unpacked:", ", ".join(f"{name} {size} MB" for name, size in images.sizes().items()))
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
