"""Makes a whole catalogue: plans its products, photographs them in parallel, writes the CSV."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lookalike.catalogue.catalog import CatalogItem, write_catalog
from lookalike.errors import InvalidInputError, Reason
from lookalike.files.disk import writing
from lookalike.synth.leaves import LEAVES
from lookalike.synth.product import Product, build, draw_product, draw_sibling
from lookalike.synth.render import Model
from lookalike.synth.scene import LARGEST_PHOTO, Stage, photograph
from lookalike.synth.styles import PHONE, SHOP, STUDIO, Style

Progress = Callable[[int, int], None]

TRAIN_SHARE = 0.4
_FAMILY_SIZES = (1, 2, 2, 3)
_PROPS = 24


@dataclass(frozen=True)
class _Task:
    """One product of the plan: ``family`` names its near twins, ``member`` counts them from 0."""

    number: int
    family: int
    member: int
    split: str


def generate(
    out: str | os.PathLike[str],
    *,
    products: int,
    views: int,
    seed: int,
    workers: int = 0,
    image_size: int = 224,
    progress: Progress | None = None,
) -> Path:
    """Makes a catalogue of photos of made-up products.

    The same arguments give the same bytes, whatever the number of workers.

    Args:
        out: Folder to write ``catalog.csv`` and ``images/`` into; made if absent.
        products: Number of products.
        views: Photos of each product.
        seed: Seed of everything random.
        workers: Processes; 0 takes one per usable processor, 1 stays in this process.
        image_size: Side of the square photos, in pixels.
        progress: Called with photos done and photos in all.

    Returns:
        The path of ``catalog.csv``.

    Raises:
        InvalidInputError: An argument is out of range, or ``out`` holds a catalogue already.
    """
    _check("products", products, 1)
    _check("views", views, 2)
    _check("seed", seed, 0)
    _check("workers", workers, 0)
    _check("image_size", image_size, 32, LARGEST_PHOTO)
    folder = Path(out)
    target = folder / "catalog.csv"
    if target.exists():
        raise InvalidInputError(
            f"{folder.name} already holds a catalog.csv; choose an empty folder",
            reason=Reason.FIELD_INVALID,
            field="out",
        )
    (folder / "images").mkdir(parents=True, exist_ok=True)
    tasks = _plan(products, seed)
    items: list[CatalogItem] = []
    for made in _run(tasks, _Job(folder, views, seed, image_size), workers or len(os.sched_getaffinity(0))):
        items += made
        if progress is not None:
            progress(len(items), products * views)
    write_catalog(target, items)
    return target


def _check(name: str, value: int, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        limits = f"at least {least}" if most is None else f"between {least} and {most}"
        raise InvalidInputError(
            f"{name} must be {limits}, not {value}", reason=Reason.FIELD_OUT_OF_RANGE, field=name
        )


def _plan(products: int, seed: int) -> list[_Task]:
    """Deals families of near twins over leaves and splits; a family is wholly for training or not at all."""
    random = np.random.default_rng([seed, 0])
    tasks: list[_Task] = []
    family = trained = 0
    while len(tasks) < products:
        size = min(int(random.choice(_FAMILY_SIZES)), products - len(tasks))
        training = trained < TRAIN_SHARE * len(tasks)
        trained += size * training
        for member in range(size):
            # The last of three twins is a distractor: indexed, never searched for.
            split = "train" if training else "index" if member == 2 else "query"
            tasks.append(_Task(len(tasks), family, member, split))
        family += 1
    return tasks


@dataclass(frozen=True)
class _Job:
    folder: Path
    views: int
    seed: int
    image_size: int


def _run(tasks: list[_Task], job: _Job, workers: int) -> Iterator[list[CatalogItem]]:
    """Yields each task's items, in the order of ``tasks``."""
    if workers == 1:
        studio = _Studio(job)
        yield from map(studio.make, tasks)
        return
    # Spawned, not forked: the caller may hold threads and locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(job,)) as pool:
        try:
            with _interrupts_held():
                made = pool.map(_make_in_worker, tasks, chunksize=4)
            yield from made
        except BaseException:
            # An iterator that was not begun, as when Ctrl-C came while the workers started, cancels nothing.
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Holds Ctrl-C back while workers start, and keeps it from them for good: they inherit the mask.

    A terminal sends Ctrl-C to all processes. A worker that is still importing, or whose start is cut
    short in this process, would print a traceback. Another thread may take the signal in spite of the
    mask, so the handler waits as well.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    caught: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    handler = (
        signal.signal(signal.SIGINT, lambda number, _: caught.append(number)) if in_main_thread else None
    )
    try:
        yield
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if caught:
            signal.raise_signal(signal.SIGINT)


class _Studio:
    """Makes products one after the other; each depends on its own seeds only."""

    def __init__(self, job: _Job) -> None:
        # OpenCV's own threads would compete with the other workers.
        cv2.setNumThreads(1)
        self.job = job
        random = np.random.default_rng([job.seed, 2])
        chosen = random.choice(len(LEAVES), _PROPS)
        self.stage = Stage(job.seed, [build(draw_product(LEAVES[n], random)) for n in chosen])

    def make(self, task: _Task) -> list[CatalogItem]:
        product = self._product(task)
        model = build(product)
        return [self._photo(task, product, model, view) for view in range(self.job.views)]

    def _product(self, task: _Task) -> Product:
        leaf = LEAVES[task.family % len(LEAVES)]
        product = draw_product(leaf, np.random.default_rng([self.job.seed, 3, task.family]))
        if task.member:
            return draw_sibling(product, np.random.default_rng([self.job.seed, 4, task.family, task.member]))
        return product

    def _photo(self, task: _Task, product: Product, model: Model, view: int) -> CatalogItem:
        job = self.job
        random = np.random.default_rng([job.seed, 5, task.number, view])
        is_query = task.split == "query" and view == 0
        photo, quality = photograph(
            model, product.leaf.pose, _style(view), self.stage, random, job.image_size
        )
        name = hashlib.blake2b(f"{job.seed}/{task.number}/{view}".encode(), digest_size=8).hexdigest()
        path = job.folder / "images" / f"{name}.jpg"
        _, encoded = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        with writing(path):
            path.write_bytes(encoded.tobytes())
        return CatalogItem(
            item_id=name,
            product_id=f"p{task.number:05d}",
            image_path=path,
            title=product.title,
            categories=product.leaf.path,
            attributes={
                "colour": product.paint.colour,
                "material": product.paint.material,
                "pattern": product.paint.pattern,
                "family": f"f{task.family:05d}",
            },
            splits=frozenset({"query" if is_query else "index" if task.split == "query" else task.split}),
        )


def _style(view: int) -> Style:
    """The first photo is taken by a buyer's phone, the others are a marketplace's mixture."""
    return (PHONE, STUDIO, SHOP, STUDIO, SHOP, PHONE, SHOP)[view % 7]


_studio: _Studio | None = None


def _start_worker(job: _Job) -> None:
    global _studio
    _studio = _Studio(job)


def _make_in_worker(task: _Task) -> list[CatalogItem]:
    assert _studio is not None
    return _studio.make(task)
