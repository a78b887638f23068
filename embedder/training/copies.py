"""Photos and altered copies of them that are the same in every run."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from embedder.photos import read_photo
from embedder.preprocess import PreprocessParams, decode_for, to_input
from embedder.training.augment import VERSIONS, Augmentation, alter, shrunk, vary
from lookalike.errors import InvalidInputError


class Copies:
    """Prepared photos by number and copy: copy 0 is the photo itself, the others are altered.

    A copy follows from the photo's content, the seed and, where a part of another photo may lie behind the
    product, from that photo. Which one that is changes for few photos when the catalogue grows.

    Args:
        photos: The files.
        hashes: SHA-256 of each in hex; empty for one that cannot be read.
        params: How pictures are prepared.
        augmentation: How copies are altered.
        seed: Of the alterations.
    """

    def __init__(
        self,
        photos: Sequence[Path],
        hashes: Sequence[str],
        params: PreprocessParams,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self._photos = photos
        self._hashes = hashes
        self._params = params
        self._augmentation = augmentation
        self._seed = seed
        self._numbers = {digest: number for number, digest in enumerate(hashes) if digest}
        self._ring = sorted(self._numbers)

    def __len__(self) -> int:
        return len(self._photos)

    def name(self, number: int, copy: int) -> str:
        """Names all that decides a copy but how it is prepared."""
        parts = self._hashes[number]
        if not copy or not parts:
            return parts
        version = VERSIONS[self._augmentation]
        if self._augmentation == "mild":
            return f"{parts} copy {copy} augmentation {version} seed {self._seed}"
        other = self._hashes[self._other(number, copy)]
        return f"{parts} copy {copy} {self._augmentation} {version} seed {self._seed} before {other}"

    def prepare(self, number: int, copy: int) -> npt.NDArray[np.float32]:
        """Returns a copy as the network's input, ``(3, size, size)`` float32.

        Raises:
            InvalidInputError: A photo cannot be read, or has changed since its hash was taken.
        """
        image = self._decode(number)
        if copy:
            random = np.random.default_rng([self._seed, copy, int(self._hashes[number][:16], 16)])
            if self._augmentation == "mild":
                image = vary(image, random)
            else:
                image = alter(self._shrunk(image), lambda: self._shrunk(self._behind(number, copy)), random)
        return to_input(image, self._params)

    def _shrunk(self, image: Image.Image) -> Image.Image:
        # Cutting out a part leaves about the network's size.
        return shrunk(image, 2 * self._params.size)

    def _behind(self, number: int, copy: int) -> Image.Image:
        try:
            return self._decode(self._other(number, copy))
        except InvalidInputError:  # that one's fault, and reported with it
            return self._decode(number)

    def _other(self, number: int, copy: int) -> int:
        """Returns the photo whose hash follows a random place on the ring of all hashes."""
        drawn = hashlib.sha256(f"{self._seed} {copy} {self._hashes[number]}".encode()).hexdigest()
        place = bisect_left(self._ring, drawn)
        return self._numbers[self._ring[place % len(self._ring)]]

    def _decode(self, number: int) -> Image.Image:
        data = read_photo(self._photos[number])
        # Kept under the hash of what was there before, what is computed would be wrong for ever.
        if hashlib.sha256(data).hexdigest() != self._hashes[number]:
            raise InvalidInputError("the file changed while it was read")
        return decode_for(data, self._params)
