"""Which originals a start means, and where they may lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.images.errors import ImageError
from tasks.images.sources import SourcesRefused, check_in_place, expand, is_gone, is_settled, locate, look

NOWHERE = Path("/nowhere")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with photographs in it, and one that lies outside."""
    for name in ("root/b.jpg", "root/a.jpg", "root/a.png", "root/.hidden.jpg", "root/deep/er/c.jpg", "out/o.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "root" / ".cache").mkdir()
    (tmp_path / "root" / ".cache" / "d.jpg").write_bytes(b"x")
    return tmp_path / "root"


def names(root: Path, pattern: str, *, leave_out: Path = NOWHERE) -> list[str]:
    return [os.path.relpath(path, root) for path in expand(f"{root}/{pattern}", [root], leave_out=leave_out)]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.jpg", ["a.jpg", "b.jpg"]),
        ("a.*", ["a.jpg", "a.png"]),
        ("**/*.jpg", ["a.jpg", "b.jpg", "deep/er/c.jpg"]),
        ("**", ["a.jpg", "a.png", "b.jpg", "deep/er/c.jpg"]),
        ("de*/*/*.jpg", ["deep/er/c.jpg"]),
        ("[ab].jpg", ["a.jpg", "b.jpg"]),
        (".*.jpg", [".hidden.jpg"]),
        ("a.jpg", ["a.jpg"]),
        ("*.gif", []),
    ],
)
def test_a_pattern_matches_as_in_a_shell(root: Path, pattern: str, found: list[str]) -> None:
    """Hidden names only where they are named, folders never, always in the same order."""
    assert names(root, pattern) == found


def test_a_list_is_taken_literally(root: Path) -> None:
    """A path with brackets in it is a path."""
    assert list(expand(["/x/[1].jpg", "/y"], [root], leave_out=NOWHERE)) == ["/x/[1].jpg", "/y"]


def test_a_link_to_a_folder_above_does_not_go_round(root: Path) -> None:
    """``**`` follows no links to folders."""
    (root / "deep" / "up").symlink_to(root)
    assert names(root, "**/*.jpg") == ["a.jpg", "b.jpg", "deep/er/c.jpg"]


def test_results_are_no_originals(root: Path) -> None:
    """What lies in the destination is left out, or each run would make variants of variants."""
    assert names(root, "**/*.jpg", leave_out=root / "deep") == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("pattern", ["../out/*.jpg", "linked/*.jpg"])
def test_a_pattern_outside_of_the_roots_is_refused(root: Path, pattern: str) -> None:
    """By its own path, or by where a link leads; the message names the setting."""
    (root / "linked").symlink_to(root.parent / "out")
    with pytest.raises(SourcesRefused, match="IMAGE_ROOTS"):
        names(root, pattern)


def test_a_folder_that_is_not_there_is_refused(root: Path) -> None:
    """A slip of the pen must not look like an empty folder."""
    with pytest.raises(SourcesRefused, match="there is no folder"):
        names(root, "fotos/*.jpg")


def test_a_link_out_of_the_roots_is_refused(root: Path) -> None:
    """Of one file too; the message says where it leads."""
    (root / "l.jpg").symlink_to(root.parent / "out" / "o.jpg")
    with pytest.raises(ImageError, match=r"out/o\.jpg") as raised:
        locate(str(root / "l.jpg"), [root])
    assert raised.value.code == "outside_roots"
    assert locate(str(root / "a.jpg"), [root]) == root / "a.jpg"


def test_a_link_that_moves_while_it_is_opened_is_noticed(root: Path) -> None:
    """What was opened must be what was allowed."""
    link = root / "l.jpg"
    link.symlink_to(root / "a.jpg")
    real = locate(str(link), [root])
    opened = os.stat(root / "a.jpg")
    check_in_place(str(link), real, (opened.st_dev, opened.st_ino, 1, 0))
    link.unlink()
    link.symlink_to(root.parent / "out" / "o.jpg")
    with pytest.raises(ImageError, match="changed"):
        check_in_place(str(link), real, (opened.st_dev, opened.st_ino, 1, 0))
    other = os.stat(root / "b.jpg")
    with pytest.raises(ImageError, match="changed"):
        check_in_place(str(root / "a.jpg"), real, (other.st_dev, other.st_ino, 1, 0))


@pytest.mark.parametrize(
    ("mtime_ns", "read_ns", "settled"),
    [
        (1_000_000_001, 2_000_000_000, True),
        (1_000_000_001, 1_010_000_000, False),
        (1_000_000_000, 2_000_000_000, False),
        (1_000_000_000, 3_100_000_000, True),
        (5_000_000_001, 2_000_000_000, False),
    ],
)
def test_a_file_read_right_after_it_was_written_is_not_trusted(mtime_ns: int, read_ns: int, settled: bool) -> None:
    """It may have been written again within the same tick; where times are whole seconds, the tick is long."""
    assert is_settled(mtime_ns, read_ns) is settled


def test_a_glance_at_nothing_is_none(root: Path) -> None:
    """The job will say why."""
    seen = look(str(root / "a.jpg"))
    assert seen is not None and seen.size == 1
    assert look(str(root / "none.jpg")) is None


def test_a_disk_that_is_not_there_makes_no_source_gone(root: Path, tmp_path: Path) -> None:
    """Gone is what was removed from under a root that is there and has something in it."""
    assert is_gone(str(root / "none.jpg"), [root])
    assert not is_gone(str(root / "a.jpg"), [root])
    (tmp_path / "empty").mkdir()
    assert not is_gone(str(tmp_path / "empty" / "x.jpg"), [tmp_path / "empty"])
    assert not is_gone(str(tmp_path / "absent" / "x.jpg"), [tmp_path / "absent"])
    assert not is_gone("/elsewhere/x.jpg", [root])
