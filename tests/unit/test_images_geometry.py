"""How large things get: a table for each fit, and what holds for all sizes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.images.geometry import Layout, common_size, cut_at, lay_out
from tasks.images.variants import Variant

COVER, CONTAIN, FILL, UP = {"fit": "cover"}, {"fit": "contain"}, {"fit": "fill"}, {"upscale": True}


@pytest.mark.parametrize(
    ("image", "box", "options", "layout"),
    [
        ((4000, 3000), (1920, 1080), {}, (1440, 1080, 1440, 1080)),
        ((4000, 3000), (1920, None), {}, (1920, 1440, 1920, 1440)),
        ((4000, 3000), (None, 300), {}, (400, 300, 400, 300)),
        ((400, 300), (1920, 1080), {}, (400, 300, 400, 300)),
        ((400, 300), (800, None), UP, (800, 600, 800, 600)),
        ((10_000, 1), (100, 100), {}, (100, 1, 100, 1)),
        ((4000, 3000), (300, 300), COVER, (400, 300, 300, 300)),
        ((4000, 3000), (800, 200), COVER, (800, 600, 800, 200)),
        ((400, 300), (1600, 400), COVER, (400, 300, 400, 100)),
        ((400, 300), (200, 600), COVER, (400, 300, 100, 300)),
        ((400, 300), (1600, 400), COVER | UP, (1600, 1200, 1600, 400)),
        ((4000, 3000), (300, 300), CONTAIN, (300, 225, 300, 300)),
        ((40, 30), (300, 300), CONTAIN, (40, 30, 300, 300)),
        ((40, 30), (300, 300), CONTAIN | UP, (300, 225, 300, 300)),
        ((4000, 3000), (300, 300), FILL, (300, 300, 300, 300)),
        ((4000, 200), (300, 300), FILL, (300, 200, 300, 200)),
        ((40, 30), (300, 300), FILL | UP, (300, 300, 300, 300)),
    ],
)
def test_layouts(
    image: tuple[int, int], box: tuple[int | None, int | None], options: Any, layout: tuple[int, ...]
) -> None:
    """Resized to, and cut or put on a background of."""
    assert lay_out(*image, Variant("a", *box, **options)) == Layout(*layout)


EDGES = st.integers(1, 60_000)
BOXES = st.integers(1, 5_000)


@given(EDGES, EDGES, BOXES, BOXES, st.sampled_from(["inside", "cover", "contain", "fill"]), st.booleans())
def test_results_stay_in_the_box_and_are_never_enlarged_unasked(
    width: int, height: int, wide: int, high: int, fit: str, upscale: bool
) -> None:
    """And what is cut out lies within what was resized, what is put on a background within that."""
    layout = lay_out(width, height, Variant("a", wide, high, fit=fit, upscale=upscale))
    assert 1 <= layout.out_width <= wide and 1 <= layout.out_height <= high
    assert layout.width >= 1 and layout.height >= 1
    if not upscale:
        assert layout.width <= width and layout.height <= height
    if fit == "cover":
        assert layout.width >= layout.out_width and layout.height >= layout.out_height
    else:
        assert layout.width <= layout.out_width and layout.height <= layout.out_height
    if upscale and fit in ("cover", "contain", "fill"):
        assert (layout.out_width, layout.out_height) == (wide, high)


@given(EDGES, EDGES, st.lists(st.tuples(BOXES, BOXES), min_size=1, max_size=5))
def test_the_common_size_is_enough_for_all(width: int, height: int, boxes: list[tuple[int, int]]) -> None:
    """Nothing is enlarged that need not be, nothing more is decoded than the largest needs."""
    layouts = [lay_out(width, height, Variant("a", *box)) for box in boxes]
    wide, high = common_size(width, height, layouts)
    assert all(each.width <= wide <= width and each.height <= high <= height for each in layouts)
    assert any(each.width == wide for each in layouts)


@pytest.mark.parametrize(
    ("point", "place"),
    [((0.5, 0.5), (50, 0)), ((0, 0), (0, 0)), ((1, 1), (100, 0)), ((0.3, 0.5), (10, 0)), ((0.1, 0.9), (0, 0))],
)
def test_a_cut_is_about_its_point_as_far_as_the_image_goes(point: tuple[float, float], place: tuple[int, int]) -> None:
    """Of 200 × 100 pixels, a square."""
    assert cut_at(Layout(200, 100, 100, 100), point) == place
