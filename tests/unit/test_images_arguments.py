"""What can be told from the arguments alone is told when the start is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.errors import BadArguments
from tasks.images.arguments import batch_arguments, image_arguments
from tasks.images.sets import hash_of, includes, merged, set_of, specs_of
from tasks.images.variants import Variant

SMALL = {"name": "small", "width": 480}


def test_arguments_are_written_out_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute paths and complete specs: a worker elsewhere needs nothing else."""
    monkeypatch.chdir(tmp_path)
    args = batch_arguments(["a.jpg", Path("b.jpg")], [SMALL], dest="out")
    assert args["sources"] == [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
    assert args["dest"] == str(tmp_path / "out")
    assert args["variants"] == [Variant("small", 480).as_json()]
    assert batch_arguments("*.jpg", Variant("small", 480), dest="out")["sources"] == str(tmp_path / "*.jpg")
    assert image_arguments("[1].jpg", SMALL, dest="out")["source"] == str(tmp_path / "[1].jpg")


def test_one_folder_is_one_destination(tmp_path: Path) -> None:
    """Two names for it are one admission key."""
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    assert batch_arguments(["a"], [SMALL], dest=tmp_path / "link")["dest"] == str(tmp_path / "real")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sources": []}, "sources is empty"),
        ({"sources": 5}, "give a list of paths"),
        ({"sources": b"/x"}, "give a list of paths"),
        ({"sources": ["a", 5]}, "5 is no path"),
        ({"sources": [""]}, "is no path"),
        ({"sources": ["a\0b"]}, "is no path"),
        ({"sources": "https://example.org/a.jpg"}, "is a URL"),
        ({"sources": ["a\udcff.jpg"]}, "not UTF-8"),
        ({"sources": ["x" * 5000]}, "at most|1 to 4096"),
        ({"dest": ""}, "dest"),
        ({"dest": "/" + "x" * 600}, "at most 512"),
        ({"variants": []}, "variants is empty"),
        ({"variants": "small"}, "give a list such as"),
        ({"variants": [{"width": 5}]}, "name"),
        ({"variants": [SMALL, SMALL]}, "two variants are called"),
        ({"variants": [{**SMALL, "colour": "cmyk"}]}, "colour"),
        (
            {"variants": [{"name": f"v{n}", "width": n + 1, "formats": ["jpeg", "webp"]} for n in range(31)]},
            "at most 60",
        ),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], message: str) -> None:
    """With a message that names the argument."""
    with pytest.raises(BadArguments, match=message):
        batch_arguments(**{"sources": ["a.jpg"], "variants": [SMALL], "dest": "/d", **wrong})


def test_a_start_decides_about_the_variants_that_it_names() -> None:
    """Others stay wanted; one that is named again with another spec replaces what it was, formats and all."""
    before = set_of([Variant("small", 480, formats=("jpeg", "webp")), Variant("large", 1920)])
    after = merged(before, set_of([Variant("small", 500)]))
    assert set(after) == {"small", "large"}
    assert set(after["small"]) == {"jpeg"}
    assert after["large"] == before["large"]
    assert includes(after, set_of([Variant("large", 1920)]))
    assert not includes(after, set_of([Variant("small", 480)]))
    assert len(specs_of(before)) == 3
    assert hash_of(before) == hash_of(dict(reversed(list(before.items())))) != hash_of(after)
