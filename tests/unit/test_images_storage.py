"""Results are whole, or they are not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tasks.images.errors import DestRefused
from tasks.images.naming import content_of, result_name
from tasks.images.storage import INCOMING, LocalFolder

CONTENT = "ab" + "c" * 62
NAME = result_name(CONTENT, "d" * 64, "jpeg", 1440, 1080, "e" * 64)


@pytest.fixture
def storage(tmp_path: Path) -> LocalFolder:
    return LocalFolder(str(tmp_path / "dest"), [tmp_path])


def put(storage: LocalFolder, name: str, content: bytes) -> None:
    temporary = storage.incoming() / "t"
    temporary.write_bytes(content)
    storage.put({name: temporary})


def test_a_name_tells_content_spec_and_size() -> None:
    """And a name of any other shape is none of ours."""
    assert f"ab/{'c' * 62}-1440x1080-{'d' * 16}-{'e' * 8}.jpg" == NAME
    assert content_of(NAME) == CONTENT
    for other in ("holiday.jpg", f"x/{NAME}", NAME + ".bak", f"{INCOMING}/t/0", NAME.upper()):
        assert content_of(other) is None


def test_what_is_put_is_found_listed_and_deleted(storage: LocalFolder) -> None:
    """With its size."""
    put(storage, NAME, b"12345")
    put(storage, NAME + "2", b"1")
    assert [(file.name, file.size) for file in sorted(storage.list(), key=lambda file: file.name)] == [
        (NAME, 5),
        (NAME + "2", 1),
    ]
    found = storage.find(NAME)
    assert found is not None and found.size == 5
    assert storage.delete(NAME)
    assert not storage.delete(NAME)
    assert storage.find(NAME) is None
    assert storage.delete(NAME + "2")


def test_others_may_read_results_whatever_the_umask(storage: LocalFolder) -> None:
    """A web server is another user; Supervisor's programs have umask 077."""
    before = os.umask(0o077)
    try:
        put(storage, NAME, b"1")
    finally:
        os.umask(before)
    path = storage.path / NAME
    assert path.stat().st_mode & 0o777 == 0o644
    assert [parent.stat().st_mode & 0o777 for parent in list(path.parents)[:2]] == [0o755] * 2


def test_files_are_flushed_before_they_are_named_and_their_folder_after(
    storage: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order that a power cut cannot break; a folder that was made is flushed in its parent, too."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def logged_fsync(descriptor: int) -> None:
        done.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def logged_rename(self: Path, target: Path) -> Path:
        done.append("rename")
        return rename(self, target)

    temporary = storage.incoming() / "t"
    temporary.write_bytes(b"1")
    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(Path, "rename", logged_rename)
    storage.put({NAME: temporary})
    assert done == ["fsync t", "fsync dest", "rename", "fsync ab"]


def test_nothing_is_left_of_a_put_that_failed(storage: LocalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full while the names are given leaves no file without one."""

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="full"):
        put(storage, NAME, b"1")
    assert list(storage.list()) == []


def test_a_destination_outside_of_the_roots_is_refused(tmp_path: Path) -> None:
    """By its own path or by where it leads; the message names the setting."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    for path in (tmp_path / "out", tmp_path / "in" / ".." / "out", tmp_path / "in" / "link"):
        with pytest.raises(DestRefused, match="IMAGE_DEST_ROOTS"):
            LocalFolder(str(path), [tmp_path / "in"])


def test_a_link_within_the_destination_leads_nobody_out(storage: LocalFolder, tmp_path: Path) -> None:
    """Nothing is written through it."""
    (tmp_path / "out").mkdir()
    storage.path.mkdir()
    (storage.path / "ab").symlink_to(tmp_path / "out")
    with pytest.raises(DestRefused, match="symbolic link"):
        put(storage, NAME, b"1")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
