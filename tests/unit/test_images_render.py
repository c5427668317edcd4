"""What comes out is right: upright, in sRGB, of the right size, moving as before, and with nothing in it but what is kept."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.images.engine import Engine
from tasks.images.errors import ImageError
from tasks.images.variants import Variant
from tests.images_lab import Lab
from tests.unit.images_fixtures import Make

RED, GREEN, BLUE = (220, 0, 0), (0, 220, 0), (0, 0, 220)


def near(found: tuple[int, ...], expected: tuple[int, ...], tolerance: int = 12) -> bool:
    return len(found) == len(expected) and all(abs(a - b) <= tolerance for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    "name",
    [f"orientation-{number}.jpg" for number in range(1, 9)]
    + [f"orientation-{number}.{ending}" for number in (3, 6) for ending in ("png", "webp", "tif", "avif")],
)
def test_every_orientation_comes_out_upright(make: Make, lab: Lab, name: str) -> None:
    """The pixels are turned, and no tag is left that would turn them again."""
    (output,) = make(name, Variant("a", 200, 200))
    seen = lab.look(output.path)
    assert (seen["width"], seen["height"]) == (output.width, output.height) == (200, 150)
    assert all(near(a, b) for a, b in zip(seen["corners"][0], [RED, GREEN, RED, BLUE], strict=True))
    assert seen["fields"].get("orientation", "1") == "1"


def test_a_cut_is_taken_from_the_upright_image(make: Make, lab: Lab) -> None:
    """Focus (1, 0) is the top right of what a person sees, however it is stored."""
    (output,) = make("orientation-6.jpg", Variant("a", 80, 80, fit="cover", focus=(1, 0)))
    assert near(lab.look(output.path)["corners"][0][1], GREEN)


@pytest.mark.parametrize(
    "name",
    [
        *("rgb.jpg", "rgb.png", "rgb.webp", "rgb.tif", "rgb.gif", "rgb.avif", "progressive.jpg", "interlaced.png"),
        *("palette.png", "big.tif", "rgb16.png", "rgb16.tif", "float.tif", "srgb-profile.jpg"),
    ],
)
def test_every_kind_of_rgb_gives_the_same_picture(make: Make, lab: Lab, samples: Path, name: str) -> None:
    """Depths, palettes, interlacing and containers change nothing that one sees."""
    (output,) = make(name, Variant("a", 200, formats=("png",)))
    seen = lab.look(output.path)
    assert (seen["width"], seen["height"], seen["bands"]) == (200, 150, 3)
    assert lab.psnr(output.path, samples / "reference-p3.png") > 33


@pytest.mark.parametrize("name", ["grey.png", "grey.jpg", "bilevel.png"])
def test_grey_stays_grey(make: Make, lab: Lab, name: str) -> None:
    """One band, a third of the work."""
    (output,) = make(name, Variant("a", 200))
    assert lab.look(output.path)["bands"] == 1


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("p3.png", "reference-p3.png"),
        ("p3.jpg", "reference-p3.png"),
        ("cmyk.jpg", "reference-cmyk.png"),
        ("cmyk.tif", "reference-cmyk.png"),
    ],
)
def test_colours_go_through_the_profile(make: Make, lab: Lab, samples: Path, name: str, reference: str) -> None:
    """Within a ΔE of 3 of the reference conversion, and the profile is gone."""
    (output,) = make(name, Variant("a", 200, formats=("png",)))
    mean, high = lab.delta_e(output.path, samples / reference)
    assert (mean < 1.0, high <= 3.0) == (True, True), (mean, high)
    assert not any(field.startswith("icc") for field in lab.look(output.path)["fields"])


@pytest.mark.parametrize("name", ["half.png", "half.webp"])
@pytest.mark.parametrize("image_format", ["png", "webp", "avif"])
def test_transparency_stays_and_hidden_colours_do_not_bleed(make: Make, lab: Lab, name: str, image_format: str) -> None:
    """The edge of the green half is half green and half nothing: no magenta from beneath."""
    quality = None if image_format == "png" else 100
    (output,) = make(name, Variant("a", 100, formats=(image_format,), quality=quality))
    seen = lab.look(output.path)
    assert seen["bands"] == 4
    assert (seen["corners"][0][0][3], seen["corners"][0][1][3]) == (0, 255)
    assert 90 < seen["edge"][3] < 165
    assert near(seen["edge"][:3], (0, 128, 0), 30)


def test_transparency_meets_the_background_in_jpeg(make: Make, lab: Lab) -> None:
    """White, unless another colour is asked for."""
    white, yellow = make("half.png", Variant("a", 100), Variant("b", 100, background="#ffff00"))
    assert near(lab.look(white.path)["corners"][0][0], (255, 255, 255))
    assert near(lab.look(yellow.path)["corners"][0][0], (255, 255, 0))


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp"])
def test_animations_keep_frames_durations_and_loops(make: Make, lab: Lab, name: str) -> None:
    """In WebP and GIF, when all frames are asked for; each frame is resized by itself."""
    outputs = make(name, Variant("a", 20, frames="all", formats=("webp", "gif", "jpeg")))
    assert [(each.format, each.frames) for each in outputs] == [("jpeg", 1), ("webp", 5), ("gif", 5)]
    for output in outputs[1:]:
        seen = lab.look(output.path)
        assert (seen["width"], seen["height"], seen["frames"]) == (20, 15, 5)
        assert (seen["delays"], seen["loop"]) == ([100, 200, 300, 400, 50], 3)
        assert [near(frame[0][:3], (number * 50, 100, 0)) for number, frame in enumerate(seen["corners"])] == [True] * 5


def test_the_first_frame_is_the_default(make: Make, lab: Lab) -> None:
    """A still image of an animation."""
    (output,) = make("moving.gif", Variant("a", 20, formats=("webp",)))
    assert (output.frames, lab.look(output.path)["frames"]) == (1, 1)


def test_a_still_beside_an_animation_is_one_frame(make: Make, lab: Lab) -> None:
    """Twice as high as a frame of the original, and not taken for two of them."""
    still, _ = make(
        "moving.gif",
        Variant("a", 80, formats=("webp",), upscale=True),
        Variant("b", 20, formats=("webp",), frames="all"),
    )
    seen = lab.look(still.path)
    assert (still.frames, seen["frames"], seen["width"], seen["height"]) == (1, 1, 80, 60)


@pytest.mark.parametrize(
    ("metadata", "present", "absent"),
    [
        (("copyright",), ["exif-ifd0-Copyright"], ["exif-ifd0-Make", "exif-ifd3-GPSLatitudeRef"]),
        ((), [], ["exif-data"]),
        (("exif",), ["exif-ifd0-Copyright", "exif-ifd0-Make", "exif-ifd3-GPSLatitudeRef"], []),
    ],
)
@pytest.mark.parametrize("image_format", ["jpeg", "webp", "avif", "png"])
def test_metadata_is_what_is_kept(
    make: Make, lab: Lab, image_format: str, metadata: tuple[str, ...], present: list[str], absent: list[str]
) -> None:
    """The copyright by default, nothing else: not the camera, not the place."""
    (output,) = make("orientation-6.jpg", Variant("a", 100, formats=(image_format,), metadata=metadata))
    fields = lab.look(output.path)["fields"]
    assert (set(present) <= set(fields), set(absent) & set(fields)) == (True, set())
    assert fields.get("orientation", "1") == "1"
    if "exif-ifd0-Copyright" in present:
        # As libvips tells it: the value, then once more with its type.
        assert "((c) A. Nyone (UK) U" in fields["exif-ifd0-Copyright"]
        assert fields["exif-ifd0-Copyright"].count("Nyone") == 2


def test_contain_puts_the_image_on_its_background(make: Make, lab: Lab) -> None:
    """In the middle; transparent where the format can, white in JPEG."""
    red, clear, paper = make(
        "spot.png",
        Variant("a", 100, 100, fit="contain", background="#ff0000", formats=("png",)),
        Variant("b", 100, 100, fit="contain", background="transparent", formats=("png", "jpeg")),
    )[0:3]
    assert lab.look(red.path)["corners"][0][0] == (255, 0, 0)
    by_format = {output.format: lab.look(output.path) for output in (clear, paper)}
    assert by_format["png"]["corners"][0][0][3] == 0
    assert near(by_format["jpeg"]["corners"][0][0], (255, 255, 255))
    assert near(by_format["png"]["middle"][:3], (90, 90, 90))


def test_attention_finds_what_draws_the_eye(make: Make, lab: Lab) -> None:
    """The spot at the right edge is in the cut; in one about the centre it is not."""
    look_there, centre = make(
        "spot.png",
        Variant("a", 50, 100, fit="cover", focus="attention", formats=("png",)),
        Variant("b", 50, 100, fit="cover", formats=("png",)),
    )
    assert (look_there.dominant_colour, look_there.width) == ("#5a5a5a", 50)
    assert (lab.look(look_there.path)["middle"] != (90, 90, 90), lab.look(centre.path)["middle"]) == (
        True,
        (90, 90, 90),
    )


def test_a_target_in_bytes_is_met_with_the_best_quality_there_is(make: Make) -> None:
    """One step of quality more would exceed it; where nothing meets it, the least quality says so."""
    for image_format in ("jpeg", "webp"):
        (best,) = make("noise.png", Variant("a", 300, formats=(image_format,), target_bytes=20_000))
        assert best.bytes <= 20_000
        assert best.quality is not None and best.notes == ()
        (more,) = make("noise.png", Variant("a", 300, formats=(image_format,), quality=best.quality + 1))
        assert more.bytes > 20_000
    (least,) = make("noise.png", Variant("a", 300, target_bytes=256))
    assert (least.quality, least.notes, least.bytes > 256) == (10, ("over_target",), True)


def test_what_is_told_of_an_output_is_so(make: Make, lab: Lab) -> None:
    """Size, bytes, hash and format are those of the file."""
    for output in make("rgb.jpg", Variant("a", 120, formats=("jpeg", "webp", "avif", "png", "gif"))):
        data = output.path.read_bytes()
        seen = lab.look(output.path)
        assert (output.bytes, output.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert (output.width, output.height, output.variant) == (seen["width"], seen["height"], "a")
        assert seen["loader"].startswith({"avif": "heif"}.get(output.format, output.format))


def test_variants_made_together_are_those_made_alone(make: Make, lab: Lab) -> None:
    """A small one that is derived from a large one is what it would be from the original, to the eye."""
    small = Variant("small", 90, formats=("png",))
    together = make("rgb.jpg", Variant("large", 300), small)[1]
    (alone,) = make("rgb.jpg", small)
    assert lab.psnr(together.path, alone.path) > 45


@pytest.mark.parametrize(
    "name", ["rgb.jpg", "progressive.jpg", "rgb.png", "interlaced.png", "rgb.webp", "rgb.gif", "rgb.avif"]
)
def test_a_file_that_ends_early_is_truncated(engine: Engine, samples: Path, tmp_path: Path, name: str) -> None:
    """It is never filled up with grey; no file is left."""
    data = (samples / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(data[: len(data) * 2 // 3])
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(ImageError) as refused:
        engine.render(cut, [(Variant("a", 100), "jpeg")], into)
    assert refused.value.code == "truncated"
    assert list(into.iterdir()) == []


@pytest.mark.parametrize("name", ["rgb.jpg", "rgb.png", "interlaced.png", "rgb.gif", "rgb.avif", "moving.webp"])
def test_a_damaged_file_is_corrupt(engine: Engine, samples: Path, tmp_path: Path, name: str) -> None:
    """Bytes changed in the middle: nothing that half looks like the image is made of it."""
    data = bytearray((samples / name).read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 40):
        data[at] ^= 0x5A
    damaged = tmp_path / name
    damaged.write_bytes(data)
    with pytest.raises(ImageError) as refused:
        engine.render(damaged, [(Variant("a", 100), "jpeg")], tmp_path)
    assert refused.value.code == "corrupt"


def test_a_jpeg_with_harmless_oddities_is_taken(engine: Engine, samples: Path, tmp_path: Path) -> None:
    """Some cameras write a few bytes too many between segments."""
    data = (samples / "rgb.jpg").read_bytes()
    tables, at = data.index(b"\xff\xdb"), data.index(b"\xff\xda")
    odd = tmp_path / "odd.jpg"
    odd.write_bytes(data[:tables] + b"\0\1" + data[tables:at] + b"\0\1" + data[at:])
    assert engine.render(odd, [(Variant("a", 100), "jpeg")], tmp_path).outputs[0].width == 100


def test_a_wrong_extension_is_noted_and_accepted(engine: Engine, samples: Path, tmp_path: Path) -> None:
    """The content decides."""
    misnamed = tmp_path / "photo.png"
    misnamed.write_bytes((samples / "rgb.jpg").read_bytes())
    rendered = engine.render(misnamed, [(Variant("a", 100), "jpeg")], tmp_path)
    assert (rendered.probed.format, rendered.probed.notes) == ("jpeg", ("wrong_extension",))


def test_svg_is_drawn_only_where_it_is_allowed(engine: Engine, lab: Lab, tmp_path: Path) -> None:
    """At the size asked for, not enlarged from a small raster."""
    svg = tmp_path / "a.svg"
    svg.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10"><rect width="20" height="10" fill="#00f"/></svg>'
    )
    with pytest.raises(ImageError, match="SVG"):
        engine.render(svg, [(Variant("a", 100), "png")], tmp_path)
    with Engine(replace(engine.limits, allow=("svg",))) as allowing:
        (output,) = allowing.render(svg, [(Variant("a", 100, formats=("png",), upscale=True), "png")], tmp_path).outputs
    assert (output.width, output.height, lab.look(output.path)["middle"][:3]) == (100, 50, (0, 0, 255))
