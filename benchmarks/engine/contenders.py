"""What is measured: every engine's builds and the sweep of search settings of each, as data."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from math import log2
from typing import Any

from benchmarks.engine.engines.base import Settings

__all__ = ["ENGINES", "GROUPS", "LOOKALIKE", "Contender", "contenders"]

LOOKALIKE = "Lookalike"
REFERENCE_ITEMS = 1_100_000
"""The size for which cell counts are written below; they go with the square root of the size."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One index to build and the settings to search it with.

    Attributes:
        engine: Name in tables and plots; the builds of one engine make one curve.
        label: Tells the builds of an engine apart.
        adapter: Name in :mod:`benchmarks.engine.engines`.
        build: Build settings of the adapter.
        searches: Search settings of the adapter.
    """

    engine: str
    label: str
    adapter: str
    build: Settings
    searches: tuple[Settings, ...]

    @property
    def name(self) -> str:
        return f"{self.engine} {self.label}"


def grid(**values: Iterable[Any]) -> tuple[Settings, ...]:
    """Every combination, as settings."""
    return tuple(dict(zip(values, row, strict=True)) for row in product(*values.values()))


def cells(reference: int, items: int) -> int:
    """`reference` cells at 1.1 M items, scaled with the square root of `items` to a power of two."""
    return 1 << round(log2(reference * (items / REFERENCE_ITEMS) ** 0.5))


def lookalike(dim: int, items: int) -> list[Contender]:
    searches = grid(probes=(16, 24, 32, 48, 64, 96, 128, 192), rerank=(40, 80, 160))
    # What users ask with: the index chooses, and leaves out buckets that can hardly hold anything better.
    searches += grid(effort=(0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.75))
    return [
        Contender(LOOKALIKE, rerank, "lookalike", {"rerank": rerank, "seed": 0}, searches)
        for rerank in ("int8", "f16")
    ]


def lookalike_after_churn(dim: int, items: int) -> list[Contender]:
    return [
        Contender(f"{LOOKALIKE} after 20 % churn", c.label, c.adapter, {**c.build, "churn": 0.2}, c.searches)
        for c in lookalike(dim, items)
    ]


def faiss_rabitq(dim: int, items: int) -> list[Contender]:
    searches = grid(nprobe=(4, 8, 12, 16, 24, 32, 48, 64, 96), k_factor=(5, 10, 20))
    builds = [(cells(c, items), "SQfp16") for c in (1024, 2048, 4096)]
    builds.append((cells(2048, items), "Flat"))
    return [
        Contender(
            "FAISS IVF-RaBitQ-FastScan",
            f"IVF{n},RaBitQfs,{refine}",
            "faiss",
            {"factory": f"IVF{n},RaBitQfs,{'RFlat' if refine == 'Flat' else f'Refine({refine})'}"},
            searches,
        )
        for n, refine in builds
    ]


def faiss_pq(dim: int, items: int) -> list[Contender]:
    searches = grid(nprobe=(8, 12, 16, 24, 32, 48, 64, 96), k_factor=(5, 10, 20, 40))
    builds = [(cells(c, items), dim // 2) for c in (1024, 2048, 4096)]
    builds.append((cells(2048, items), dim // 4))
    return [
        Contender(
            "FAISS IVF-PQ-FastScan",
            f"IVF{n},PQ{m}x4fs,SQfp16",
            "faiss",
            {"factory": f"IVF{n},PQ{m}x4fs,Refine(SQfp16)"},
            searches,
        )
        for n, m in builds
    ]


def scann(dim: int, items: int) -> list[Contender]:
    shares = (0.004, 0.007, 0.012, 0.02, 0.03, 0.045, 0.07, 0.11, 0.17)
    builds = [(1000, "float32", False), (2000, "float32", False), (4000, "float32", False)]
    builds += [(2000, "bfloat16", False), (2000, "bfloat16", True)]
    made = []
    for reference, reorder, soar in builds:
        leaves = round(reference * (items / REFERENCE_ITEMS) ** 0.5)
        visits = sorted({max(2, round(share * leaves)) for share in shares})
        made.append(
            Contender(
                "ScaNN",
                f"{leaves} leaves, {reorder}{', SOAR' if soar else ''}",
                "scann",
                {"leaves": leaves, "reorder": reorder, "soar": soar},
                grid(leaves_to_search=visits, reorder=(40, 80, 160)),
            )
        )
    return made


def hnswlib(dim: int, items: int) -> list[Contender]:
    # One size only: it takes ten minutes to build.
    if items > 2_000_000:
        return []
    searches = grid(ef=(10, 16, 24, 32, 40, 48, 64, 80, 100, 128, 160, 200, 256, 320))
    return [Contender("hnswlib", "M 24", "hnswlib", {"m": 24, "ef_construction": 200}, searches)]


def usearch(dim: int, items: int) -> list[Contender]:
    searches = grid(expansion=(10, 16, 24, 32, 40, 48, 64, 80, 100, 128, 160, 200, 256, 320))
    # 8-bit vectors stay below a recall of 0.94 without a rerank, which usearch does not have.
    builds = [("bf16", 16), ("bf16", 32)]
    return [
        Contender(
            "usearch",
            f"{dtype}, connectivity {connectivity}",
            "usearch",
            {"dtype": dtype, "connectivity": connectivity, "expansion_add": 128},
            searches,
        )
        for dtype, connectivity in builds
    ]


SVS_SEARCHES = tuple(
    {"window": window, "capacity": max(window, capacity)}
    for window, capacity in [
        (w, c) for w in (10, 12, 15, 20, 25, 30, 40, 50, 65, 80, 100) for c in (w, 2 * w)
    ]
)


def svs_leanvec(dim: int, items: int) -> list[Contender]:
    return [
        Contender(
            "SVS LeanVec",
            f"lvq8 to {dims} dimensions, {secondary}",
            "svs",
            {"data": "leanvec", "degree": 32, "window": 100, "dims": dims, "secondary": secondary},
            SVS_SEARCHES,
        )
        for dims, secondary in ((dim // 2, "f16"), (dim // 2, "lvq8"))
    ]


def svs_half(dim: int, items: int) -> list[Contender]:
    return [
        Contender("SVS float16", "R 32", "svs", {"data": "f16", "degree": 32, "window": 100}, SVS_SEARCHES)
    ]


def textbook(dim: int, items: int) -> list[Contender]:
    searches = grid(probes=(1, 2, 4, 8, 16, 32, 64), rerank=(200, 1000))
    return [
        Contender(
            f"{LOOKALIKE} {family}",
            f"{tables} tables",
            "lookalike",
            {"family": family, "tables": tables, "rerank": "int8", "seed": 0},
            searches,
        )
        for family in ("hyperplane", "cross_polytope")
        for tables in (1, 4, 8)
    ]


def faiss_multihash(dim: int, items: int) -> list[Contender]:
    searches = grid(nflip=(0, 1, 2, 3), rerank=(50, 100, 200, 400, 1000))
    return [
        Contender(
            "FAISS IndexBinaryMultiHash",
            f"{tables} tables of {key_bits} bits",
            "faiss-binary",
            {"bits": 512, "tables": tables, "key_bits": key_bits},
            searches,
        )
        for tables, key_bits in ((8, 16), (16, 16), (32, 16), (16, 20))
    ]


def faiss_hamming(dim: int, items: int) -> list[Contender]:
    searches = grid(rerank=(20, 50, 100, 200, 400, 700, 1000))
    return [Contender("FAISS IndexBinaryFlat", "512 bits", "faiss-binary", {"bits": 512}, searches)]


def faiss_filtered(dim: int, items: int) -> list[Contender]:
    searches = ({"exact": True}, *grid(nprobe=(4, 8, 16, 32, 64, 128, 256), k_factor=(3, 10)))
    n = cells(2048, items)
    name = f"IVF{n},RaBitQfs,Flat, IDSelector"
    return [Contender("FAISS", name, "faiss", {"factory": f"IVF{n},RaBitQfs,RFlat"}, searches)]


def lookalike_filtered(dim: int, items: int) -> list[Contender]:
    return [
        Contender(LOOKALIKE, f"{c.label}, filters", c.adapter, {**c.build, "filters": True}, c.searches)
        for c in lookalike(dim, items)
    ]


def lookalike_to_scale(dim: int, items: int) -> list[Contender]:
    return lookalike(dim, items)[:1]


def faiss_to_build(dim: int, items: int) -> list[Contender]:
    return [c for c in faiss_rabitq(dim, items) if c.label.startswith(f"IVF{cells(2048, items)},")]


def scann_to_build(dim: int, items: int) -> list[Contender]:
    return scann(dim, items)[1:2]


GROUPS = {
    "curves": (
        lookalike,
        svs_leanvec,
        svs_half,
        faiss_rabitq,
        faiss_pq,
        scann,
        usearch,
        hnswlib,
        lookalike_after_churn,
    ),
    "families": (textbook, faiss_multihash, faiss_hamming),
    "filtered": (lookalike_filtered, faiss_filtered),
    "live": (lookalike,),
    "scale": (lookalike_to_scale,),
    "build": (lookalike, svs_leanvec, svs_half, faiss_to_build, scann_to_build),
}
"""The makers of the contenders of each section."""

ENGINES = {make.__name__ for makers in GROUPS.values() for make in makers} | {"faiss"}
"""Names by which engines are chosen; see :func:`contenders`."""


def contenders(section: str, dim: int, items: int, only: Iterable[str] = ()) -> list[Contender]:
    """The contenders of `section` for `items` vectors of `dim` dimensions.

    Args:
        section: A key of :data:`GROUPS`.
        dim: Dimensions.
        items: Vectors.
        only: Names of makers to keep, such as `faiss_pq`; all of them by default. `faiss` also stands for the
            section's own `faiss_filtered` or `faiss_to_build`.
    """
    wanted = set(only)

    def chosen(name: str) -> bool:
        return not wanted or not wanted.isdisjoint((name, re.sub(f"(_to)?_{section}$", "", name)))

    return [contender for make in GROUPS[section] if chosen(make.__name__) for contender in make(dim, items)]
