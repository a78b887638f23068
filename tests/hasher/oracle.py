"""The oracle of the hash index: short, slow, and the meaning of every code bit and filter.

The native engine must agree with these functions exactly, floats included: the rotation uses only
float32 products, sums and differences in a fixed order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lookalike.filters import Condition, Equals, Filter, In, InCategories, InCategory, Range, as_filter

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def passes(filter: Filter | Condition, category: Sequence[str], values: Mapping[str, str]) -> bool:
    """Whether an item of this category (a full path, maybe empty) and these attribute values passes."""
    whole = as_filter(filter)
    outcomes = {
        group: [_holds(condition, category, values) for condition in getattr(whole, group)]
        for group in ("all", "any", "none")
    }
    return all(outcomes["all"]) and (not whole.any or any(outcomes["any"])) and not any(outcomes["none"])


def _holds(condition: Condition, category: Sequence[str], values: Mapping[str, str]) -> bool:
    match condition:
        case InCategory(path):
            return tuple(category[: len(path)]) == path
        case InCategories(paths):
            return any(tuple(category[: len(path)]) == path for path in paths)
        case Equals(name, value):
            return values.get(name) == value
        case In(name, wanted):
            return values.get(name) in wanted
        case Range(name, low, high):
            text = values.get(name, "")
            number = float(text) if _NUMBER.fullmatch(text) else math.nan
            low, high = -math.inf if low is None else low, math.inf if high is None else high
            return math.isfinite(number) and low <= number <= high


def splitmix64(seed: int, count: int) -> NDArray[np.uint64]:
    """Returns the first outputs of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014): `(count,)` uint64."""
    gamma = np.uint64(0x9E3779B97F4A7C15)
    z = np.uint64(seed) + gamma * np.arange(1, count + 1, dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def rotate(vectors: NDArray[np.float32], bits: int, seed: int) -> NDArray[np.float32]:
    """Rotates rows by sign flips and Walsh-Hadamard transforms (Ailon & Chazelle 2009).

    With `p` the largest power of two up to `d`, each round flips the signs and transforms `p`
    coordinates, in turn the last and the first ones; where `d > p`, coordinate `i` is mixed with
    `d - 1 - i` before the third round.

    Args:
        vectors: `(n, d)` float32.
        bits: Number of outputs; beyond `d` further rotations are stacked.
        seed: Seed of the sign flips.

    Returns:
        `(n, bits)` float32.
    """
    dim = vectors.shape[1]
    power = 1 << (dim.bit_length() - 1)
    rounds = 3 if dim == power else 4
    blocks, words = -(-bits // dim), -(-dim // 64)
    random = splitmix64(seed, blocks * rounds * words).reshape(blocks, rounds, words)
    flips = np.unpackbits(random.view(np.uint8), axis=-1, bitorder="little")[..., :dim]
    out = []
    for block in flips:
        x = vectors
        for number, round_flips in enumerate(block):
            divisor = np.ones(dim)
            if number == 2 and dim > power:
                x = _fold(x)
                divisor[np.arange(dim) != dim - 1 - np.arange(dim)] = 2
            start = dim - power if number % 2 == 0 else 0
            divisor[start : start + power] *= power
            scales = (1.0 / np.sqrt(divisor)).astype(np.float32)
            x = x * np.where(round_flips == 1, -scales, scales)
            x[:, start : start + power] = _hadamard(x[:, start : start + power])
        out.append(x)
    return np.concatenate(out, axis=1)[:, :bits]


def _fold(x: NDArray[np.float32]) -> NDArray[np.float32]:
    half = x.shape[1] // 2
    out, low, high = x.copy(), x[:, :half], x[:, ::-1][:, :half]
    out[:, :half], out[:, ::-1][:, :half] = low + high, low - high
    return out


def _hadamard(x: NDArray[np.float32]) -> NDArray[np.float32]:
    n, width = x.shape
    half = 1
    while half < width:
        pairs = x.reshape(n, -1, 2, half)
        low, high = pairs[:, :, 0], pairs[:, :, 1]
        x = np.stack([low + high, low - high], axis=2).reshape(n, width)
        half *= 2
    return x


def pack_signs(values: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Packs signs: `(n, bits)` float32 to `(n, bits / 64)` uint64.

    Bit `i` of a code is bit `i % 64`, from the least significant, of word `i // 64`; it is 1 where the
    value is not negative.
    """
    packed = np.packbits(values >= 0, axis=1, bitorder="little")
    return packed.view("<u8").astype(np.uint64, copy=False)


def encode(vectors: NDArray[np.float32], bits: int, seed: int) -> NDArray[np.uint64]:
    """Returns the sign codes of rows around the origin (Charikar, STOC 2002): `(n, bits / 64)` uint64."""
    return pack_signs(rotate(vectors, bits, seed))


def hamming_distances(query: NDArray[np.uint64], codes: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Counts the differing bits of `query` `(words,)` and each code `(n, words)`: `(n,)` uint32."""
    distances: NDArray[np.uint32] = np.bitwise_count(codes ^ query).sum(axis=1, dtype=np.uint32)
    return distances


def hamming_top_k(
    queries: NDArray[np.uint64], codes: NDArray[np.uint64], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Finds the `k` nearest of at least `k` codes for each query: distances and rows, ties by row."""
    distances = np.stack([hamming_distances(query, codes) for query in queries]).astype(np.int32)
    rows = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, rows, axis=1), rows


def brute_force(
    vectors: NDArray[np.float32], ids: NDArray[np.uint64], queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Finds the `k` nearest items by cosine, ties by ascending id.

    Args:
        vectors: `(n, d)` float32, `n >= k`.
        ids: `(n,)` uint64.
        queries: `(q, d)` float32.
        k: Results per query.

    Returns:
        ids `(q, k)` uint64 and cosines `(q, k)` float64.
    """
    a, b = vectors.astype(np.float64), queries.astype(np.float64)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    cosines = b @ a.T
    order = np.lexsort((np.broadcast_to(ids, cosines.shape), -cosines), axis=1)[:, :k]
    return ids[order], np.take_along_axis(cosines, order, axis=1)
