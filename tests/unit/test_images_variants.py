"""Variants are checked when they are made, and their hash changes when, and only when, their bytes would."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.images import variants
from tasks.images.errors import BadVariant
from tasks.images.variants import Variant, check_variants


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "name"),
        ({"name": "A b", "width": 1}, "lower-case"),
        ({"name": "a"}, "give a width, a height, or both"),
        ({"name": "a", "width": 0}, "from 1 to"),
        ({"name": "a", "width": True}, "from 1 to"),
        ({"name": "a", "width": 2561, "formats": ["avif"]}, "from 1 to 2560, in avif"),
        ({"name": "a", "width": 16384, "formats": ["jpeg", "webp"]}, "from 1 to 16383"),
        ({"name": "a", "width": 10, "fit": "cover"}, "both a width and a height"),
        ({"name": "a", "width": 10, "fit": "outside"}, "one of inside, cover, contain, fill"),
        ({"name": "a", "width": 10, "formats": []}, "at least one of"),
        ({"name": "a", "width": 10, "formats": ["heic"]}, "one of jpeg"),
        ({"name": "a", "width": 10, "focus": "face"}, "centre, attention, entropy"),
        ({"name": "a", "width": 10, "focus": [0.5, 1.5]}, "both from 0 to 1"),
        ({"name": "a", "width": 10, "background": "red"}, "#rrggbb"),
        ({"name": "a", "width": 10, "quality": 101}, "from 1 to 100"),
        ({"name": "a", "width": 10, "quality": {"webp": 50}}, "formats of this variant"),
        ({"name": "a", "width": 10, "quality": {"png": 50}, "formats": ["png"]}, "formats of this variant"),
        ({"name": "a", "width": 10, "quality": 50, "target_bytes": 1000}, "not both"),
        ({"name": "a", "width": 10, "target_bytes": 10}, "a number from 256"),
        ({"name": "a", "width": 10, "target_bytes": 1000, "formats": ["png"]}, "a format that has a quality"),
        ({"name": "a", "width": 10, "upscale": "no"}, "True or False"),
        ({"name": "a", "width": 10, "frames": "last"}, "first, all"),
        ({"name": "a", "width": 10, "metadata": ["gps"]}, "copyright, exif"),
        ({"name": "a", "width": 10, "colour": "p3"}, "srgb"),
        ({"name": "a", "widht": 10}, "it has no 'widht'; there are: name, width"),
        ("a", "give an object"),
    ],
)
def test_a_wrong_variant_says_what_is_wrong_and_what_to_give(spec: Any, said: str) -> None:
    """When it is made, not when the hundredth image is."""
    with pytest.raises(BadVariant, match=said.replace("(", r"\(")):
        Variant.of_json(spec)


def test_names_are_unique() -> None:
    """Two variants of one name would be one line of the manifest."""
    with pytest.raises(BadVariant, match="two variants are called 'a'"):
        check_variants([{"name": "a", "width": 1}, Variant("a", 2)])
    with pytest.raises(BadVariant, match="empty"):
        check_variants([])


@pytest.mark.parametrize(
    "variant",
    [
        Variant("a", 10),
        Variant("b", 10, 20, fit="cover", focus=(0.25, 1), formats=("webp", "jpeg"), quality={"jpg": 70}),
        Variant("c", height=5, target_bytes=900, metadata=(), frames="all", formats=("gif", "webp"), upscale=True),
    ],
)
def test_json_gives_the_variant_back(variant: Variant) -> None:
    """Through real JSON, as arguments and payloads go."""
    back = Variant.of_json(json.loads(json.dumps(variant.as_json())))
    assert (back, hash(back), back.canonical_json()) == (variant, hash(variant), variant.canonical_json())


def test_equal_specs_are_equal_however_they_are_written() -> None:
    """The order of formats, and British or American spelling, say nothing."""
    one = Variant.of_json(
        {"name": "a", "width": 9, "height": 9, "fit": "cover", "focus": "center", "formats": ["webp", "jpg"]}
    )
    other = Variant("a", 9, 9, fit="cover", formats=("jpeg", "webp"), background="#FFFFFFFF")
    assert one == other


BASE = Variant("a", 10, 20, fit="cover", formats=("jpeg", "webp"))


@pytest.mark.parametrize(
    "same",
    [
        Variant("renamed", 10, 20, fit="cover", formats=("jpeg",)),
        Variant("a", 10, 20, fit="cover", formats=("jpeg", "avif"), quality={"avif": 30}),
        Variant("a", 10, 20, fit="cover", formats=("jpeg",), quality=82),
        Variant("a", 10, 20, fit="cover", formats=("jpeg",), frames="all"),
    ],
)
def test_what_does_not_touch_the_bytes_does_not_touch_the_hash(same: Variant) -> None:
    """Renamed, given a format more, or a default spelled out: nothing is made again."""
    assert same.spec_hash("jpeg") == BASE.spec_hash("jpeg")


@pytest.mark.parametrize(
    "other",
    [
        Variant("a", 11, 20, fit="cover"),
        Variant("a", 10, 21, fit="cover"),
        Variant("a", 10, 20, fit="fill"),
        Variant("a", 10, 20, fit="cover", focus="attention"),
        Variant("a", 10, 20, fit="cover", focus=(0, 0)),
        Variant("a", 10, 20, fit="cover", background="#000000"),
        Variant("a", 10, 20, fit="cover", quality=81),
        Variant("a", 10, 20, fit="cover", target_bytes=999),
        Variant("a", 10, 20, fit="cover", upscale=True),
        Variant("a", 10, 20, fit="cover", metadata=()),
    ],
)
def test_what_touches_the_bytes_touches_the_hash(other: Variant) -> None:
    """Another spec never finds the first one's file."""
    assert other.spec_hash("jpeg") != BASE.spec_hash("jpeg")


def test_the_hash_knows_format_and_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A better engine makes everything anew."""
    before = BASE.spec_hash("jpeg")
    assert before != BASE.spec_hash("webp")
    monkeypatch.setattr(variants, "ENGINE_VERSION", variants.ENGINE_VERSION + 1)
    assert BASE.spec_hash("jpeg") != before
