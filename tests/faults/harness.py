"""Kill, retry, power cut: the loop around a real process on a disk that forgets what was not synced.

A round starts the process and lets clients write until it is killed. Mostly it is started again on the same
disk (a kill leaves what was written there, synced or not) and the clients repeat what was not answered. Then
the power is cut. The process that starts on what is left must have everything that was acknowledged.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.process import ServiceProcess
from tests.faults.gateway_load import GatewayLoad
from tests.faults.hasher_load import HasherLoad
from tests.faults.load import Load, StartError
from tests.faults.mount import Mount

SERVICES = ("hasher", "gateway")
ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
LIFE_SECONDS = 5.0
"""How long a process lives that does less than its kill waits for."""
RETRIED = "retried"


@dataclass(frozen=True)
class Kill:
    """When a process is killed: at the n-th ``sync`` or ``write`` of its disk or after n ``milliseconds``."""

    kind: str
    count: int


@dataclass(frozen=True)
class Plan:
    """One round.

    Attributes:
        first: The kill in the first life of the process.
        second: The kill in its second life; ``RETRIED``: the power goes as soon as what was unanswered is
            answered; None: there is no second life.
        seed: Of what the disk has written without a sync; None: nothing.
        clients: That write at the same time.
    """

    first: Kill
    second: Kill | str | None
    seed: str | None
    clients: int


def random_plans(seed: int, count: int) -> Iterator[Plan]:
    """Returns the rounds of a seed, half of them with a disk that loses all that was not synced."""
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        second = rng.choice([RETRIED, RETRIED, _random_kill(rng), None])
        kept = None if rng.random() < 0.5 else f"{seed}/{number}"
        yield Plan(_random_kill(rng), second, kept, rng.randint(1, 3))


def _random_kill(rng: random.Random) -> Kill:
    kind = rng.choice(["sync", "sync", "write", "milliseconds"])
    return Kill(kind, rng.randint(1, {"sync": 30, "write": 600, "milliseconds": 400}[kind]))


def revealing_plans(step: str) -> list[Plan]:
    """Returns rounds that lose something where a step of :mod:`tests.faults.sabotaged` is left out.

    Without the checkpoint that is the call whose sync was killed: after the restart it is known to be done,
    and so nothing is written and nothing synced. The clients must be plain ones.
    """
    kills = [Kill("sync", 5), Kill("sync", 8)] if step == "checkpoint" else [Kill("write", 150)]
    return [Plan(kill, RETRIED, None, 1) for kill in kills]


@dataclass
class Report:
    """What became of the rounds."""

    cuts: int = 0
    kills: int = 0
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)


class Server(ServiceProcess):
    """A service that listens; ``without`` names a step of :mod:`tests.faults.sabotaged` to leave out."""

    def __init__(self, command: list[str], folder: Path, without: str = "") -> None:
        service, *flags = command
        through = ["tests.faults.sabotaged", without] if without else []
        super().__init__(service, folder, *flags, "--drain-wait-seconds=0", through=through)
        self.start()
        try:
            self.wait_until_listening()
        except RuntimeError as error:
            raise StartError(str(error)[-1000:]) from None

    def kill_after(self, seconds: float) -> None:
        """Kills it, where it does not end before."""
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(seconds)
        self.kill()


@contextmanager
def load_of(service: str, seed: int, folder: Path, *, plain: bool = False) -> Iterator[Load]:
    """Makes the clients of a service, and starts what the service itself needs."""
    if service == "hasher":
        yield HasherLoad(seed, plain=plain)
        return
    peer = Server(["hasher", f"--data-folder={folder / 'peer-data'}"], folder)
    try:
        yield GatewayLoad(seed, peer.port)
    finally:
        peer.kill()


class Machine:
    """A disk and the process on it."""

    def __init__(self, load: Load, folder: Path, without: str) -> None:
        self._load, self._folder, self._without = load, folder, without
        self._image = folder / "disk"
        self._image.mkdir()
        self._mount = Mount(self._image, folder / "disk.log")
        self._server: Server | None = None

    def start(self) -> None:
        """Starts the process."""
        command = self._load.command(self._mount.path)
        self._server = Server(command, self._folder, self._without)
        self._load.connect(self._server.port, self._server.search_port)

    def work_until(self, kill: Kill, clients: int) -> None:
        """Lets clients write until the process is killed."""
        assert self._server
        with ThreadPoolExecutor(clients) as pool:
            if kill.kind != "milliseconds":
                self._mount.plan_kill(self._server.popen.pid, kill.kind, kill.count)
            working = [pool.submit(client) for client in self._load.clients(clients)]
            self._server.kill_after(kill.count / 1000 if kill.kind == "milliseconds" else LIFE_SECONDS)
            self._mount.cancel_kill()
        for client in working:
            client.result()

    def cut(self, seed: str | None) -> None:
        """Cuts the power; the machine is off then, with what is left on its disk."""
        if self._server:
            self._server.kill()
        shutil.rmtree(self._image)
        self._mount.cut(self._image, seed)
        self._mount.close()
        self._mount = Mount(self._image, self._folder / "disk.log")

    def close(self) -> None:
        """Ends both."""
        if self._server:
            self._server.kill()
        self._mount.close()


def run(load: Load, plans: Iterable[Plan], folder: Path, without: str = "") -> Report:
    """Runs rounds one after the other, each on what the one before has left.

    Args:
        load: What clients do.
        plans: The rounds.
        folder: An empty folder for logs and the disk's content.
        without: A step of :mod:`tests.faults.sabotaged` that the process leaves out.

    A process that does not start after a cut has lost everything: that is the last round. Where a step
    is left out, the first loss is enough.
    """
    report = Report()
    machine = Machine(load, folder, without)
    try:
        machine.start()
        for plan in plans:
            machine.work_until(plan.first, plan.clients)
            report.kills += 1
            if plan.second is not None:
                machine.start()
                load.retry()
            if isinstance(plan.second, Kill):
                machine.work_until(plan.second, plan.clients)
                report.kills += 1
            machine.cut(plan.seed)
            report.cuts += 1
            try:
                machine.start()
            except StartError as error:
                report.lost.append(f"after {plan}: {error}")
                break
            report.lost += [f"after {plan}: {what}" for what in load.lost()]
            if without and report.lost:
                break
            load.retry()
    finally:
        machine.close()
    report.acknowledged = load.acknowledged
    return report
