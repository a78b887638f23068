"""The NumPy oracle of the hash index: short, slow, and the meaning of every code bit.

The native engine must agree with these functions exactly, floats included: the rotation uses only
float32 products, sums and differences in a fixed order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDS = 3


def splitmix64(seed: int, count: int) -> NDArray[np.uint64]:
    """Returns the first `count` outputs of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014): `(count,)` uint64."""
    gamma = np.uint64(0x9E3779B97F4A7C15)
    z = np.uint64(seed) + gamma * np.arange(1, count + 1, dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def rotate(vectors: NDArray[np.float32], bits: int, seed: int) -> NDArray[np.float32]:
    """Rotates rows by sign flips and Walsh-Hadamard transforms (Ailon & Chazelle 2009).

    Args:
        vectors: `(n, d)` float32.
        bits: Number of outputs; beyond the padded dimension further rotations are stacked.
        seed: Seed of the sign flips.

    Returns:
        `(n, bits)` float32.
    """
    n, dim = vectors.shape
    padded = 1 << (dim - 1).bit_length()
    blocks, words = -(-bits // padded), -(-padded // 64)
    random = splitmix64(seed, blocks * ROUNDS * words).reshape(blocks, ROUNDS, words)
    flips = np.unpackbits(random.view(np.uint8), axis=-1, bitorder="little")[..., :padded]
    scale = np.float32(1.0 / np.sqrt(padded))
    out = []
    for block in flips:
        x = np.zeros((n, padded), np.float32)
        x[:, :dim] = vectors
        for round_flips in block:
            x = x * np.where(round_flips == 1, -scale, scale)
            x = _hadamard(x)
        out.append(x)
    return np.concatenate(out, axis=1)[:, :bits]


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
    return np.bitwise_count(codes ^ query).sum(axis=1, dtype=np.uint32)


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
