"""What decoding one photo takes of memory at most, measured in processes of its own.

What many take together is measured on a whole embedder: ``tests/integration/test_embedder_process.py``.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SIDE = 5_000
"""Of a picture with as many pixels as are accepted."""
TOO_LARGE = 8_000
MIB = 1 << 20
PROBE = """
import sys
from pathlib import Path
from embedder.preprocess import PreprocessParams, preprocess
from lookalike.errors import InvalidInputError

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

data, params, outcome = Path(sys.argv[1]).read_bytes(), PreprocessParams(), "decoded"
before = peak()
try:
    preprocess(data, params)
except InvalidInputError as error:
    outcome = error.reason.value
print(peak() - before, outcome)
"""
BOMBS = {
    "lossless webp": ("RGBA", "WEBP", {"lossless": True, "method": 0}, 450 * MIB),
    "16-bit png": ("I;16", "PNG", {"compress_level": 1}, 220 * MIB),
    "rgba png": ("RGBA", "PNG", {"compress_level": 1}, 280 * MIB),
}


def measure(bomb: str, side: int, folder: Path) -> tuple[int, str]:
    """Bytes that a process comes to hold while it prepares such a photo, and the outcome."""
    mode, file_format, options, _ = BOMBS[bomb]
    out, file = io.BytesIO(), folder / "photo"
    Image.new(mode, (side, side), 7).save(out, file_format, **options)
    file.write_bytes(out.getvalue())
    done = subprocess.run(
        [sys.executable, "-c", PROBE, file], cwd=ROOT, capture_output=True, text=True, check=True
    )
    grown, outcome = done.stdout.split()
    return int(grown), outcome


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_photo_takes_a_few_bytes_a_pixel(bomb: str, tmp_path: Path) -> None:
    *_, bound = BOMBS[bomb]
    grown, outcome = measure(bomb, SIDE, tmp_path)
    assert outcome == "decoded"
    assert grown < bound


@pytest.mark.parametrize("bomb", BOMBS)
def test_more_pixels_are_refused_before_any_is_decoded(bomb: str, tmp_path: Path) -> None:
    grown, outcome = measure(bomb, TOO_LARGE, tmp_path)
    assert outcome == "IMAGE_TOO_MANY_PIXELS"
    assert grown < 20 * MIB
