from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embedder.decoding.segments import read_header


def jpeg(**options: object) -> bytes:
    out = io.BytesIO()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8))
    picture.save(out, "JPEG", **options)
    return out.getvalue()


def test_reads_size_and_passes() -> None:
    plain, progressive = read_header(jpeg()), read_header(jpeg(progressive=True))
    assert plain is not None
    assert progressive is not None
    assert plain.size == progressive.size == (20, 12)
    assert plain.one_pass
    assert not progressive.one_pass


def test_takes_metadata_out_and_leaves_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg(exif=exif, comment=b"a comment", icc_profile=b"x" * 500)
    header = read_header(data)
    assert header is not None
    assert header.exif == exif.tobytes()
    assert len(header.without_metadata) < len(data) - 500
    with Image.open(io.BytesIO(header.without_metadata)) as stripped, Image.open(io.BytesIO(data)) as whole:
        assert not stripped.getexif()
        np.testing.assert_array_equal(np.asarray(stripped), np.asarray(whole))


@pytest.mark.parametrize("cut", [2, 3, 4, 10, 100])
def test_no_header_in_a_file_that_ends_before_the_first_scan(cut: int) -> None:
    assert read_header(jpeg()[:cut]) is None


@given(st.binary(max_size=200))
def test_any_bytes_have_a_header_or_none(data: bytes) -> None:
    header = read_header(b"\xff\xd8" + data)
    assert header is None or header.without_metadata.startswith(b"\xff\xd8")
