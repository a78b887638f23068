"""The hash index: nearest vectors by sign codes, multi-probe buckets and rerank.

A vector is kept in a bucket: a spherical cell around a trained centroid, or what hyperplanes or
cross-polytopes cut out. Its residual from the bucket's centre becomes a code of sign bits after a
structured random rotation (Charikar, STOC 2002; Ailon & Chazelle, SIAM J. Comput. 2009). A query visits the
buckets in the order of their promise (Lv et al., VLDB 2007), estimates its similarity to the rows there
from their codes (RaBitQ: Gao & Long, SIGMOD 2024), and scores the best from the stored vectors. The work is
done by the native extension, outside the GIL.

An index is safe to use from many threads: a search reads one immutable snapshot without a lock, so it
never waits for ``add`` or ``remove`` and sees all of a batch or nothing of it. It is not safe to use in a
child after ``os.fork``: the threads that work for it stay in the parent. Start processes by ``spawn``, and
open the index in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Final, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from hasher import arguments
from hasher.filters import Attributes, Condition, Filter
from hasher.results import (
    NO_ID,
    EnginePanicError,
    ExactCandidates,
    IndexDamagedError,
    IndexStats,
    SearchOptions,
    SearchResult,
)
from hasher.tuning import least_effort
from lookalike import _native

__all__ = [
    "NO_ID",
    "EnginePanicError",
    "ExactCandidates",
    "HashIndex",
    "IndexDamagedError",
    "IndexStats",
    "SearchResult",
]

RERANKS: Final = ("int8", "f16", "f32")
"""What the final scores can be computed from."""

ROTATIONS: Final = ("random", "learned")
"""What vectors can be turned by before their signs are taken."""

ESTIMATES: Final = ("asymmetric", "hamming")
"""What rows can be estimated from before the best are scored."""

TUNING_QUERIES: Final = 256
"""Stored vectors that effort is tuned on."""

DEFAULT_TABLES: Final = {"learned": 1, "hyperplane": 1, "cross_polytope": 4}
"""The hash families, and how many bucket tables each has by default."""


class HashIndex:
    """A live index of unit vectors. Make one with :meth:`build` or :meth:`open`."""

    def __init__(self, native: _native.NativeIndex) -> None:
        self._native = native
        self._effort: float | None = None

    @classmethod
    def build(
        cls,
        vectors: NDArray[np.float32],
        ids: NDArray[np.uint64],
        products: NDArray[np.uint64] | None = None,
        *,
        attributes: Attributes | None = None,
        documents: Sequence[bytes] | None = None,
        bits: int = 256,
        family: str = "learned",
        tables: int | None = None,
        rerank: str = "int8",
        rotation: str = "random",
        seed: int = 0,
        threads: int = 0,
    ) -> Self:
        """Builds an index; the same arguments give the same index on every machine.

        Ctrl-C, or another signal whose handler raises, ends it after the step that it is at: moments, but for
        the training of a learned rotation of many dimensions. All other calls see signals when they return.

        Args:
            vectors: ``(n, d)`` float32, C-contiguous, finite, no zero rows, or empty; scaled to unit length.
            ids: ``(n,)`` uint64, each once.
            products: ``(n,)`` uint64, the product of each item; by default each item is its own.
            attributes: Categories and attribute values of the items, for filters; by default none has any.
            documents: n byte strings of at most 16 MiB, which searches return; by default none has any.
            bits: Code width, a multiple of 64 from 64 to 2,048.
            family: Hash family of the buckets: ``"learned"`` cells, ``"hyperplane"`` or ``"cross_polytope"``.
            tables: Bucket tables, 1 to 64, by default 1 (cross-polytopes 4). Each further table keeps all
                rows once more. Learned cells have 1.
            rerank: What final scores, ``exact`` searches and rebuilds rest on: ``"int8"``, bytes,
                within about 0.005 of the cosine; ``"f16"``, two, within 0.0005; ``"f32"``, the vectors.
            rotation: What turns vectors before their signs are taken: ``"random"``; or ``"learned"``: codes
                of fewer bits than dimensions look along the directions in which vectors differ most.
            seed: Seed of the rotation and the buckets, 0 to 2**64-1.
            threads: Threads of the build; 0 means one per core.

        Raises:
            ValueError: Wrong shape, dtype, layout, value or range.
            lookalike.errors.NotSupportedError: An option that this version does not have.
        """
        family = arguments.checked_name(family, "family", DEFAULT_TABLES)
        native = _native.NativeIndex.build(
            arguments.checked_vectors(vectors, "vectors"),
            arguments.checked_ids(ids, "ids"),
            arguments.checked_ids(ids if products is None else products, "products"),
            attributes=attributes,
            documents=arguments.checked_documents(documents),
            bits=arguments.checked_integer(bits, "bits", 64, 2048),
            family=family,
            tables=arguments.checked_integer(
                DEFAULT_TABLES[family] if tables is None else tables, "tables", 1, 64
            ),
            rerank=arguments.checked_name(rerank, "rerank", RERANKS),
            rotation=arguments.checked_name(rotation, "rotation", ROTATIONS),
            seed=arguments.checked_integer(seed, "seed", 0, 2**64 - 1),
            threads=arguments.checked_integer(threads, "threads", 0, 1024),
        )
        return cls(native)

    def search(
        self, queries: NDArray[np.float32], k: int = 10, **options: Unpack[SearchOptions]
    ) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
        """Finds the ``k`` nearest items of each query: :meth:`search_detailed` without its figures.

        Returns:
            ids ``(q, k)`` uint64 and scores ``(q, k)`` float32, wider with ``ties``; short rows end with
            :data:`NO_ID` and ``-inf``.
        """
        result = self.search_detailed(queries, k, **options)
        return result.ids, result.scores

    def search_detailed(
        self,
        queries: NDArray[np.float32],
        k: int = 10,
        *,
        probes: int | None = None,
        rerank: int | None = None,
        effort: float | None = None,
        filter: Filter | Condition | None = None,
        exclude: NDArray[np.uint64] | None = None,
        group: bool = False,
        ties: bool = False,
        documents: bool = False,
        threads: int = 1,
        exact: bool = False,
        estimate: str = "asymmetric",
    ) -> SearchResult:
        """Finds the ``k`` nearest items of each query by cosine.

        Args:
            queries: ``(q, d)`` float32, C-contiguous, finite, no zero rows; length does not matter.
            k: Results per query, 1 or more; at most 2**24 over all queries of a call.
            probes: Buckets to visit, over all tables in one order. By default enough to scan
                ``max(100, 3 k, 13 % of the items)``, growing as ``n**0.75`` beyond 3,000 items; a scan stops
                early when calibration predicts no gain, and becomes exhaustive at half of the index.
            rerank: Candidates that are scored, at least ``k``; by default ``max(128, 8 k)``, at efforts 0
                and 1 a quarter and four times as many.
            effort: Work where ``probes`` or ``rerank`` do not say, 0 to 1; by default as :meth:`tune` set, or
                0.5. 0 scans a sixteenth of it, 1 sixteen times as much: ``stats().recall_by_effort``.
            filter: Which items may be found. Where at most 2,000 pass, all of them are scored.
            exclude: ``(n,)`` uint64, up to 1,024 ids not to be found, in the index or not; products are.
            group: Return the best item of each of the ``k`` best products.
            ties: Return also what equals the last result or, with ``group``, its product's best, if scored.
            documents: Return the documents of the results, as they were when the scores were computed.
            threads: Threads over the queries; 0 means one per core.
            exact: Compare with every stored vector; ``probes`` and ``rerank`` are then without effect.
            estimate: What chooses candidates: ``"asymmetric"``, the query's coordinates against the codes'
                signs (RaBitQ), or ``"hamming"``, the signs of both: less recall at equal work.

        Raises:
            ValueError: Wrong shape, dtype, layout, dimension, value or range.
            lookalike.errors.NotSupportedError: An option that this version does not have.
        """
        queries = arguments.checked_vectors(queries, "queries")
        ids, products, scores, found, scanned, probed, reranked, seconds = self._native.search(
            queries,
            k=arguments.checked_k(k, len(queries)),
            probes=None if probes is None else arguments.checked_integer(probes, "probes", 1, 2**31 - 1),
            rerank=None if rerank is None else arguments.checked_integer(rerank, "rerank", 1, 2**31 - 1),
            effort=self._effort if effort is None else arguments.checked_share(effort, "effort"),
            filter=filter,
            exclude=None if exclude is None else arguments.checked_ids(exclude, "exclude"),
            group=bool(group),
            ties=bool(ties),
            documents=bool(documents),
            exact=bool(exact),
            estimate=arguments.checked_name(estimate, "estimate", ESTIMATES),
            threads=arguments.checked_integer(threads, "threads", 0, 1024),
        )
        return SearchResult(ids, products, scores, scanned, probed, reranked, seconds, found)

    def exact_candidates(
        self,
        queries: NDArray[np.float32],
        k: int = 10,
        *,
        filter: Filter | Condition | None = None,
        exclude: NDArray[np.uint64] | None = None,
        group: bool = False,
        threads: int = 1,
    ) -> ExactCandidates:
        """Finds every item that can be among the ``k`` best of the vectors as they were added.

        Exact searches by :meth:`search` know vectors only as they are kept, rounded unless with ``"f32"``.
        Score these candidates instead, from vectors that were kept elsewhere, in float32 or better, as
        cosines or products of unit vectors: the ``k`` best of them, with all that equals the last, are those
        of all items (with ``group``: the best items of the ``k`` best products).

        Each row knows how far its kept vector is at most from the one added, over all rebuilds, so that its
        score has a bracket which holds the true cosine. An item is a candidate when the upper end of its
        bracket reaches the ``k``-th best lower end, of products with ``group``. With ``"f16"`` and ``"f32"``
        there are few more than ``k``. With ``"int8"`` there are some more with each rebuild since an item was
        added, as each rounds once more.

        Args:
            queries: As in :meth:`search_detailed`.
            k: Results per query that are to be among the candidates.
            filter: As in :meth:`search_detailed`.
            exclude: As in :meth:`search_detailed`.
            group: Whether the ``k`` results are products.
            threads: Threads over the queries; 0 means one per core.

        Raises:
            ValueError: Wrong shape, dtype, layout, dimension, value or range.
        """
        queries = arguments.checked_vectors(queries, "queries")
        ids, scanned, seconds = self._native.exact_candidates(
            queries,
            k=arguments.checked_k(k, len(queries)),
            filter=filter,
            exclude=None if exclude is None else arguments.checked_ids(exclude, "exclude"),
            group=bool(group),
            threads=arguments.checked_integer(threads, "threads", 0, 1024),
        )
        return ExactCandidates(ids, scanned, seconds)

    def tune(
        self,
        target_recall: float,
        *,
        queries: NDArray[np.float32] | None = None,
        k: int = 10,
        threads: int = 0,
    ) -> float:
        """Finds the least effort that reaches a recall, and makes it the default of later searches.

        Recall is measured against exact search over the same store. It is not kept by :meth:`save`: tune
        again after :meth:`open`.

        Args:
            target_recall: Mean share of the exact best ``k`` that is to be found, 0 to 1.
            queries: ``(q, d)`` float32, such as real searches see; by default 256 of the stored vectors, each
                without itself.
            k: Results per query.
            threads: Threads over the queries; 0 means one per core.

        Returns:
            The effort, 0 to 1: 1 where even that does not reach the target.

        Raises:
            ValueError: A wrong argument, no queries, or nothing is stored.
        """
        k = arguments.checked_integer(k, "k", 1, arguments.MOST_RESULTS - 1)
        target = arguments.checked_share(target_recall, "target_recall")
        if not len(self):
            raise ValueError("an empty index cannot be tuned")
        sampled = queries is None
        probe = (
            self._native.sample(TUNING_QUERIES)
            if queries is None
            else arguments.checked_vectors(queries, "queries")
        )
        if not len(probe):
            raise ValueError("queries must hold at least one query; None takes stored vectors")
        # A stored vector finds itself at any effort: one more result makes up for it.
        wanted = k + 1 if sampled else k

        def find(effort: float | None) -> NDArray[np.uint64]:
            return self.search(probe, wanted, effort=effort, exact=effort is None, threads=threads)[0]

        self._effort = least_effort(find, target, own=wanted - k)
        return self._effort

    def add(
        self,
        vectors: NDArray[np.float32],
        ids: NDArray[np.uint64],
        products: NDArray[np.uint64] | None = None,
        *,
        attributes: Attributes | None = None,
        documents: Sequence[bytes] | None = None,
    ) -> None:
        """Adds items, which can be found when this returns; an id that is present is replaced.

        When the index has grown by half since its buckets were trained (up to 20,000 items: by a quarter), or
        one bucket has become far larger than training would leave it, the index is rebuilt: up to 2,000
        items in this call, beyond that in the background, while searches and writes go on with the old
        buckets. That takes half of the cores, and the memory of all vectors as float32 and of a second index
        until it is done. It starts from the vectors as they are kept, so that with ``rerank="int8"`` each
        rebuild rounds them once more. Beyond 20,000 items the rows are also compacted in the background
        whenever an eighth of them has been replaced, which needs the memory of a second index for a moment.

        Args:
            vectors: ``(n, d)`` float32 as in :meth:`build`.
            ids: ``(n,)`` uint64, each once in the batch.
            products: ``(n,)`` uint64; by default each item is its own product.
            attributes: As in :meth:`build`; a replaced item keeps none of its old ones.
            documents: As in :meth:`build`; a replaced item does not keep its old one.

        Raises:
            ValueError: As in :meth:`build`; nothing is added then.
        """
        self._native.add(
            arguments.checked_vectors(vectors, "vectors"),
            arguments.checked_ids(ids, "ids"),
            arguments.checked_ids(ids if products is None else products, "products"),
            attributes=attributes,
            documents=arguments.checked_documents(documents),
        )

    def documents(self, ids: NDArray[np.uint64]) -> list[bytes | None]:
        """Returns the documents of items ``(n,)`` uint64, empty ones included; None for unknown ids.

        It waits for writes, which searches never do.
        """
        return self._native.documents(arguments.checked_ids(ids, "ids"))

    def remove(self, ids: NDArray[np.uint64]) -> int:
        """Removes items ``(n,)`` uint64 and returns how many there were; unknown ids are passed over.

        A large index that has lost seven of eight items is rebuilt as :meth:`add` says.
        """
        return self._native.remove(arguments.checked_ids(ids, "ids"))

    def wait_for_rebuild(self) -> None:
        """Waits until no rebuild is going on in the background. Results are right without it, too."""
        self._native.wait_for_rebuild()

    def save(self, folder: str | PathLike[str]) -> None:
        """Stores the index in ``folder``, replacing one that is there in one step.

        During a rebuild it stores the items as they are, in the buckets that are in use.

        Raises:
            ValueError: The path is empty.
            OSError: The folder cannot be written; ``filename`` says which, as in errors of :meth:`open`.
        """
        self._native.save(folder)

    @classmethod
    def open(cls, folder: str | PathLike[str]) -> Self:
        """Opens a stored index; its searches answer exactly as before :meth:`save`.

        What :meth:`tune` set is not kept, and an index that waited to be rebuilt is rebuilt first. The file
        stays mapped: replace it (as :meth:`save` does) or delete it, but never truncate it, which ends the
        process.

        Raises:
            IndexDamagedError: The file is missing, no file, truncated, altered or of another version.
            ValueError: The path is empty.
            OSError: The file cannot be read.
        """
        try:
            return cls(_native.NativeIndex.open(folder))
        except _native.DamagedError as error:
            raise IndexDamagedError(str(error)) from None

    @property
    def native(self) -> _native.NativeIndex:
        """The index itself, for other parts of the extension."""
        return self._native

    def stats(self) -> IndexStats:
        """Returns sizes and settings; ``isa`` is the instruction set in use."""
        return IndexStats(**self._native.stats(), isa=_native.active_isa())

    def __len__(self) -> int:
        """Items that can be found."""
        return self._native.stats()["items"]
