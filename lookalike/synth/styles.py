"""Kinds of photos: a studio's, a shop's own, a buyer's phone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """A kind of photo; ranges are drawn from evenly, shares are probabilities.

    Attributes:
        fill: Share of the photo's side that the product takes; above 1 it is cropped.
        distance: Camera distance, in product radii.
        widen: How far beyond the leaf's own range the pose may go, as a factor.
        shift: Largest offset from the photo's centre, as a share of the photo.
        plain: Share of photos on a plain, seamless ground.
        clutter: Largest number of other things in the picture.
        covered: Share of photos in which something covers a part of the product.
        ambient, key: Strengths of the light from all sides and of the lamp.
        exposure: Overall brightness.
        tint: Largest deviation of a colour channel by the light's colour.
        unevenness: Largest fall of the light across the picture.
        blur: Largest blur, in pixels of a 224-pixel photo.
        noise: Largest sensor noise, in grey levels.
        quality: JPEG quality.
    """

    fill: tuple[float, float]
    distance: tuple[float, float]
    widen: float
    shift: float
    plain: float
    clutter: int
    covered: float
    ambient: tuple[float, float]
    key: tuple[float, float]
    exposure: tuple[float, float]
    tint: float
    unevenness: float
    blur: float
    noise: float
    quality: tuple[int, int]


STUDIO = Style(
    fill=(0.68, 0.92),
    distance=(4.5, 8.0),
    widen=0.75,
    shift=0.03,
    plain=1.0,
    clutter=0,
    covered=0.0,
    ambient=(0.42, 0.52),
    key=(0.42, 0.58),
    exposure=(0.92, 1.06),
    tint=0.03,
    unevenness=0.08,
    blur=0.4,
    noise=2.0,
    quality=(82, 95),
)
SHOP = Style(
    fill=(0.55, 0.9),
    distance=(3.6, 6.5),
    widen=1.0,
    shift=0.08,
    plain=0.25,
    clutter=2,
    covered=0.12,
    ambient=(0.3, 0.5),
    key=(0.4, 0.75),
    exposure=(0.75, 1.15),
    tint=0.12,
    unevenness=0.3,
    blur=0.7,
    noise=5.0,
    quality=(65, 92),
)
PHONE = Style(
    fill=(0.5, 1.02),
    distance=(2.8, 5.0),
    widen=1.15,
    shift=0.12,
    plain=0.0,
    clutter=4,
    covered=0.4,
    ambient=(0.22, 0.45),
    key=(0.35, 0.9),
    exposure=(0.6, 1.2),
    tint=0.22,
    unevenness=0.5,
    blur=1.2,
    noise=10.0,
    quality=(45, 85),
)
