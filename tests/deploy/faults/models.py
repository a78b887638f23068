"""Models that are gone, slow, mixed or damaged."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from deploy.local.load import COLLECTION
from deploy.local.stack import Server
from lookalike.client import Client, Item
from lookalike.errors import LookalikeError
from tests.deploy.faults.processes import slowed
from tests.deploy.faults.site import Site, at_work, until_end


def triton_unloaded(site: Site) -> AbstractContextManager[object]:
    """A Triton without the model."""
    site.triton.unload("lookalike")
    return until_end(lambda: site.triton.load("lookalike"))


@contextmanager
def photos_queue(site: Site) -> Iterator[None]:
    """A Triton that gets little CPU, while photos are written by the hundred."""

    def write(number: int, ended: threading.Event) -> None:
        items = [Item(item_id=f"item-{number}-{n}", image=site.photos[0]) for n in range(48)]
        with Client(site.gateway.target, timeout_seconds=20) as client:
            while not ended.is_set():
                with suppress(LookalikeError):
                    client.upsert(items, collection=COLLECTION)

    # Triton gets its CPU back before writers are waited for.
    with at_work(write, threads=3), slowed(site.triton.process, 0.45, 0.05):
        yield


def other_model(site: Site) -> AbstractContextManager[object]:
    """A second embedder, of another model."""
    further = Server("embedder", site.other_bundle.parent, f"--bundle={site.other_bundle}", name="further")
    site.observed.further.append(further.start())
    site.observed.scrape()
    return until_end(further.stop, lambda: site.observed.further.remove(further), site.observed.scrape)


def bad_bundle(site: Site) -> AbstractContextManager[object]:
    """A bundle in the served folder whose network is not the one that it was."""
    manifest = site.bundle / "bundle.json"
    good = manifest.read_text()
    manifest.write_text(good.replace("{", '{"unknown": 1,', 1))
    return until_end(lambda: manifest.write_text(good))
