"""Which files are opened, and that they stay what they were."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tasks.imports.errors import BadSource, SourceChanged
from tasks.imports.source import Pin, Source


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.csv").write_text("x\n1\n")
    return tmp_path / "root"


def refused(path: Path, root: Path) -> str:
    with pytest.raises(BadSource) as raised:
        Source(str(path), [root])
    assert str(path) in str(raised.value)
    return str(raised.value)


def test_a_regular_file_under_a_root_is_read(root: Path) -> None:
    """From any place in it."""
    (root / "f.csv").write_bytes(b"0123456789")
    with Source(str(root / "f.csv"), ["/nonexistent", root]) as source:
        assert source.read(3, 4) == b"3456"
        assert source.read(8, 100) == b"89"


def test_a_symlink_that_stays_inside_is_followed(root: Path) -> None:
    """`current.csv` → `2026-11-22.csv` is how people publish files."""
    (root / "f.csv").write_text("x\n")
    (root / "current.csv").symlink_to("f.csv")
    with Source(str(root / "current.csv"), [root]) as source:
        assert source.read(0, 10) == b"x\n"


def test_what_lies_outside_the_roots_is_refused(root: Path) -> None:
    """Directly, by .., by a symlink, or by a directory that is one."""
    assert "outside" in refused(root.parent / "secret.csv", root)
    assert "outside" in refused(root / ".." / "secret.csv", root)
    (root / "link.csv").symlink_to(root.parent / "secret.csv")
    assert "secret.csv" in refused(root / "link.csv", root)
    (root / "dir").symlink_to(root.parent)
    assert "outside" in refused(root / "dir" / "secret.csv", root)


def test_what_lies_outside_is_not_even_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To open a device can do something: rewind a tape, raise a line."""
    opened: list[str] = []
    real_open = os.open

    def noting_open(path: str, flags: int) -> int:
        opened.append(path)
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", noting_open)
    assert "outside" in refused(Path("/dev/null"), root)
    (root / "link").symlink_to("/dev/null")
    assert "outside" in refused(root / "link", root)
    assert opened == []


def test_a_root_that_is_a_prefix_of_a_name_is_no_root_of_it(root: Path) -> None:
    """/data does not allow /database."""
    (root.parent / "root2").mkdir()
    (root.parent / "root2" / "f.csv").write_text("x\n")
    assert "outside" in refused(root.parent / "root2" / "f.csv", root)


def test_a_symlink_that_is_changed_while_it_is_opened_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is the file that is open, not the name that was looked at before."""
    (root / "f.csv").write_text("x\n")
    (root / "link.csv").symlink_to("f.csv")
    real_open = os.open

    def swapping_open(path: str, flags: int) -> int:
        (root / "link.csv").unlink()
        (root / "link.csv").symlink_to(root.parent / "secret.csv")
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", swapping_open)
    assert "outside" in refused(root / "link.csv", root)


@pytest.mark.timeout(5)
def test_what_is_no_regular_file_is_refused_at_once(root: Path) -> None:
    """A FIFO without a writer would block a worker for ever; a directory, a socket and a loop have nothing to read."""
    os.mkfifo(root / "fifo")
    assert "a FIFO" in refused(root / "fifo", root)
    assert "a directory" in refused(root, root)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(root / "sock"))
    assert "sock" in refused(root / "sock", root)
    listener.close()
    (root / "loop").symlink_to("loop")
    assert "loop" in refused(root / "loop", root)


def test_a_missing_file_says_where_to_put_it(root: Path) -> None:
    """On every worker host, under the same path."""
    assert "every worker host" in refused(root / "none.csv", root)
    (root / "f.csv").write_text("x\n")
    assert "none.csv" in refused(root / "f.csv" / "none.csv", root)


def test_refusals_leave_no_descriptor_open(root: Path) -> None:
    """A worker that lives long meets many bad files."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        refused(root, root)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_pinned_file_that_changes_is_noticed(root: Path) -> None:
    """By size or by modification time, with both said."""
    path = root / "f.csv"
    path.write_text("x\n1\n")
    with Source(str(path), [root]) as source:
        pin = source.pin()
        source.check(pin)
        os.utime(path, ns=(pin.mtime_ns, pin.mtime_ns + 1))
        with pytest.raises(SourceChanged, match="modified"):
            source.check(pin)
        path.write_text("x\n1\n2\n")
        os.utime(path, ns=(pin.mtime_ns, pin.mtime_ns))
        with pytest.raises(SourceChanged, match="size 4 → 6"):
            source.check(pin)
    assert Pin.of_json(pin.as_json()) == pin
