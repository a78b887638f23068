"""Golden images: photos with the embeddings that a model must give them, wherever it runs.

Four simulated photos come with the package: a plain one, one large enough to be decoded at half size, one
that EXIF turns, and a WebP. A bundle keeps them with its own network's embeddings. An embedder that does
not reproduce those is not ready: its preprocessing, its backend or its model server is another one than the
catalogue was indexed with.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.encoder import Encoder
from embedder.preprocess import PreprocessParams, preprocess
from lookalike.errors import InvalidInputError, Reason

FLOAT32_TOLERANCE = 1e-4
"""Cosine distance that backends, processors and image decoders may make between float32 results."""

_PHOTOS = ("wide.jpg", "large.jpg", "turned.jpg", "small.webp")
_ZERO = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class GoldenImages:
    """Photos and what a model makes of them.

    Attributes:
        photos: The files' bytes.
        embeddings: ``(N, D)`` float32 of unit norm, in their order.
        tolerance: Cosine distance within which this model's results repeat from machine to machine.
    """

    photos: tuple[bytes, ...]
    embeddings: npt.NDArray[np.float32]
    tolerance: float = FLOAT32_TOLERANCE

    def save(self, file: Path) -> None:
        """Writes them as an ``.npz`` file; equal contents give equal bytes."""
        ends = np.cumsum([len(photo) for photo in self.photos], dtype=np.int64)
        content = np.frombuffer(b"".join(self.photos), dtype=np.uint8)
        np.savez(
            file, photos=content, ends=ends, embeddings=self.embeddings, tolerance=np.float64(self.tolerance)
        )

    @classmethod
    def load(cls, file: Path) -> GoldenImages:
        """Reads what :meth:`save` wrote.

        Raises:
            InvalidInputError: The file is damaged (``BUNDLE_INVALID``).
        """
        try:
            with np.load(file, allow_pickle=False) as stored:
                content, ends = stored["photos"].tobytes(), stored["ends"].tolist()
                photos = tuple(content[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True))
                golden = cls(photos, stored["embeddings"], float(stored["tolerance"]))
            if golden.embeddings.dtype != np.float32 or golden.embeddings.shape[:1] != (len(photos),):
                raise ValueError("not one float32 embedding per photo")
        except Exception as error:  # a damaged archive raises a dozen unrelated types
            raise InvalidInputError(
                f"{file.name} is damaged; export or train the model again", reason=Reason.BUNDLE_INVALID
            ) from error
        return golden

    @classmethod
    def of(
        cls, encoder: Encoder, params: PreprocessParams, tolerance: float = FLOAT32_TOLERANCE
    ) -> GoldenImages:
        """Embeds the photos that come with the package with a network known to be right."""
        photos = golden_photos()
        pictures = np.stack([preprocess(photo, params) for photo in photos])
        return cls(photos, encoder.encode(pictures).embedding, tolerance)

    def prepare(self, params: PreprocessParams) -> npt.NDArray[np.float32]:
        """Returns the photos as a network's input, ``(N, 3, H, W)`` float32."""
        return np.stack([preprocess(photo, params) for photo in self.photos])

    def distance(self, embeddings: npt.NDArray[np.float32]) -> float:
        """Returns the largest cosine distance between these and the right embeddings; NaN counts as 2."""
        if embeddings.shape != self.embeddings.shape:
            return 2.0
        return cosine_distance(self.embeddings, embeddings)


def golden_photos() -> tuple[bytes, ...]:
    """Returns the files of the golden photos that come with the package."""
    folder = files("embedder") / "golden_photos"
    return tuple((folder / name).read_bytes() for name in _PHOTOS)


def cosine_distance(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Returns the largest cosine distance between rows of the same number; 2 where one is not finite.

    Args:
        one: ``(N, D)`` float32.
        other: Likewise.
    """
    a, b = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    worst = float(np.max(1.0 - (a * b).sum(axis=1) / np.maximum(norms, _ZERO)))
    return worst if np.isfinite(worst) else 2.0


def mismatch(distance: float, tolerance: float) -> str:
    """Returns why a model with this distance from its golden embeddings must not serve, "" if it may."""
    if distance <= tolerance:
        return ""
    return (
        f"its golden images come out {distance:.2g} away in cosine distance, more than {tolerance:.2g}: the "
        "preprocessing, the backend or the network differs from what the model was exported with"
    )
