"""How a picture is to be turned, from its EXIF block."""

from __future__ import annotations

from PIL import ExifTags, Image

UPRIGHT = 1


def orientation_of(exif: bytes) -> int:
    """Returns the orientation, 1 to 8 in good files; :data:`UPRIGHT` where the block does not say."""
    if not exif:
        return UPRIGHT
    tags = Image.Exif()
    try:
        tags.load(exif)
        value = tags.get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # damaged metadata must not cost a readable picture
        return UPRIGHT
    return value if isinstance(value, int) else UPRIGHT
