"""How large the pieces get: pure arithmetic on upright images, so that a table of numbers can hold it."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.images.variants import Variant


@dataclass(frozen=True, slots=True)
class Layout:
    """How one variant comes out of an upright image: it is resized, then cut or put on a background.

    ``width``, ``height``  after resizing
    ``out_width``, ``out_height``  of the result: smaller where it is cut (`cover`), larger where it is put on a background
                           (`contain`), else the same
    """

    width: int
    height: int
    out_width: int
    out_height: int


def lay_out(width: int, height: int, variant: Variant) -> Layout:
    """The layout of ``variant`` for an upright image of ``width`` × ``height`` pixels."""
    box_width, box_height = variant.width, variant.height
    if variant.fit == "inside" or box_width is None or box_height is None:
        scales = [edge / of for edge, of in ((box_width, width), (box_height, height)) if edge is not None]
        scaled = _scaled(width, height, _bounded(min(scales), variant))
        return Layout(*scaled, *scaled)
    if variant.fit == "fill":
        filled = (box_width, box_height)
        if not variant.upscale:
            filled = (min(box_width, width), min(box_height, height))
        return Layout(*filled, *filled)
    if variant.fit == "contain":
        scale = _bounded(min(box_width / width, box_height / height), variant)
        wide, high = _scaled(width, height, scale)
        return Layout(min(wide, box_width), min(high, box_height), box_width, box_height)
    scale = max(box_width / width, box_height / height)
    if scale > 1 and not variant.upscale:
        # The box's shape is what the page's layout counts on: it shrinks as a whole, until the image fills it.
        box_width, box_height = _scaled(box_width, box_height, 1 / scale)
        box_width, box_height, scale = min(box_width, width), min(box_height, height), 1
    wide, high = _scaled(width, height, scale)
    return Layout(max(wide, box_width), max(high, box_height), box_width, box_height)


def cut_at(layout: Layout, point: tuple[float, float]) -> tuple[int, int]:
    """Left and top of the part of a resized image that has ``point`` (in parts of it) as near to its middle as can be."""
    left = round(point[0] * layout.width - layout.out_width / 2)
    top = round(point[1] * layout.height - layout.out_height / 2)
    return (
        max(0, min(left, layout.width - layout.out_width)),
        max(0, min(top, layout.height - layout.out_height)),
    )


def common_size(width: int, height: int, layouts: list[Layout]) -> tuple[int, int]:
    """The size from which all layouts can be made without losing detail: the largest of them, at most the image's own."""
    return (min(width, max(each.width for each in layouts)), min(height, max(each.height for each in layouts)))


def _bounded(scale: float, variant: Variant) -> float:
    return scale if variant.upscale else min(scale, 1.0)


def _scaled(width: int, height: int, scale: float) -> tuple[int, int]:
    return max(1, round(width * scale)), max(1, round(height * scale))
