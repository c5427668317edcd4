"""Pruning removes what is nobody's, and nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runstate.audit import Actor
from tasks import clients
from tasks.images.errors import DestRefused
from tasks.images.prune import DestBusy, Pruned, prune_variants
from tasks.images.storage import INCOMING, LocalFolder
from tests.integration.images import LARGE, SMALL, Photos, counts
from tests.integration.machinery import execute, query
from tests.integration.ops_command import Ops
from tests.pictures import write_pictures

ACTOR = Actor("tester", "because")


@pytest.fixture
def photos(machinery: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Photos]:
    """Two photographs in two variants, made two hours ago; the large one is not what is wanted any more."""
    monkeypatch.setenv("IMAGE_ROOTS", str(tmp_path / "in"))
    monkeypatch.setenv("IMAGE_DEST_ROOTS", str(tmp_path / "out"))
    clients.reset()
    write_pictures(tmp_path / "in", 2)
    made = Photos(tmp_path / "in", tmp_path / "out" / "web")
    made.run(variants=[SMALL, LARGE])
    made.run(variants=[{**LARGE, "width": 100}])
    age(made)
    yield made
    clients.reset()


def age(photos: Photos) -> None:
    """Let all of it have been made two hours ago."""
    execute("UPDATE image_variants SET created_at = created_at - INTERVAL 2 HOUR")
    before = time.time() - 7200
    for path in photos.dest.rglob("*"):
        os.utime(path, (before, before))


def found(pruned: Pruned) -> dict[str, int]:
    names = ("sources", "unwanted", "fileless", "rowless", "leftovers")
    return {name: getattr(pruned, name) for name in names if getattr(pruned, name)}


def add_file(photos: Photos, name: str, *, old: bool = True) -> Path:
    path = photos.dest / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    if old:
        os.utime(path, (1, 1))
    return path


def test_a_dry_run_says_what_the_run_then_removes(photos: Photos) -> None:
    """And changes nothing; afterwards rows and files agree, and a batch has nothing to do."""
    before = photos.files()
    dry = prune_variants(photos.dest, None)
    assert found(dry) == {"unwanted": 2}
    assert photos.files() == before
    done = prune_variants(photos.dest, ACTOR, dry_run=False)
    assert done == dry
    assert len(photos.files()) == photos.check_whole() == 6
    assert counts(photos.run(variants=[SMALL, {**LARGE, "width": 100}])) == {"found": 2, "unchanged": 2}
    assert found(prune_variants(photos.dest, ACTOR, dry_run=False)) == {}


def test_every_kind_of_orphan_is_found(photos: Photos) -> None:
    """Rows without a file, files without a row, what a killed worker left; each with its bytes."""
    names = sorted(photos.entries()["000.png"].variants["small"].values(), key=lambda file: file.path)
    (photos.dest / names[0].path).unlink()
    rowless = add_file(photos, f"ab/{'c' * 62}-10x10-{'d' * 16}-{'e' * 8}.jpg")
    leftover = add_file(photos, f"{INCOMING}/abc-0.webp")
    done = prune_variants(photos.dest, ACTOR, dry_run=False)
    assert found(done) == {"unwanted": 2, "fileless": 1, "rowless": 1, "leftovers": 1}
    assert not rowless.exists() and not leftover.exists()
    assert len(photos.files()) == photos.check_whole() == 5
    assert counts(photos.run(variants=[SMALL])) == {"found": 2, "unchanged": 1, "images": 1, "encoded": 1, "skipped": 1}


def test_what_is_young_stays(photos: Photos) -> None:
    """A single image may be between its files and its record."""
    rowless = add_file(photos, f"ab/{'c' * 62}-10x10-{'d' * 16}-{'e' * 8}.jpg", old=False)
    leftover = add_file(photos, f"{INCOMING}/abc-0.webp", old=False)
    execute("UPDATE image_variants SET created_at = NOW(6)")
    before = photos.files()
    assert found(prune_variants(photos.dest, ACTOR, dry_run=False)) == {}
    assert photos.files() == before
    assert rowless.exists() and leftover.exists()


def test_a_file_made_anew_under_an_old_row_stays(photos: Photos) -> None:
    """An image that is being made again right now may have given its file the old name."""
    file = photos.entries()["000.png"].variants["small"]["jpeg"]
    execute("DELETE FROM image_sources")
    os.utime(photos.dest / file.path)
    prune_variants(photos.dest, ACTOR, dry_run=False)
    assert set(photos.files()) == {file.path}


def test_nothing_that_is_not_ours_is_touched(photos: Photos) -> None:
    """Whatever its age, whatever lies beside the results."""
    others = [add_file(photos, name) for name in ("index.html", "ab/photo.jpg", ".htaccess", "ab/cd/10x10-aa-bb.jpg")]
    prune_variants(photos.dest, ACTOR, dry_run=False)
    assert all(path.exists() for path in others)


def test_nothing_is_removed_under_an_active_batch(photos: Photos) -> None:
    """It is about to point to what is nobody's yet."""
    before = photos.files()
    run_id = photos.start(variants=[LARGE])
    with pytest.raises(DestBusy, match=run_id):
        prune_variants(photos.dest, ACTOR, dry_run=False)
    assert photos.files() == before


def test_no_batch_is_admitted_while_something_is_removed(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its admission waits for the transaction that holds the key."""
    delete = LocalFolder.delete
    waited: list[str] = []

    def meanwhile(self: LocalFolder, name: str) -> bool:
        if not waited:
            waited.append(locked())
        return delete(self, name)

    monkeypatch.setattr(LocalFolder, "delete", meanwhile)
    prune_variants(photos.dest, ACTOR, dry_run=False)
    assert waited == ["locked"]


def locked() -> str:
    """Whether an admission of the key would have to wait."""
    from sqlalchemy import text
    from sqlalchemy.exc import OperationalError

    with clients.engine().connect() as connection:
        connection.execute(text("SET SESSION innodb_lock_wait_timeout = 0"))
        try:
            connection.execute(text("SELECT fence FROM fences FOR UPDATE"))
            return "free"
        except OperationalError:
            return "locked"
        finally:
            connection.rollback()
            connection.execute(text("SET SESSION innodb_lock_wait_timeout = 10"))
            connection.rollback()


def test_sources_that_are_gone_are_forgotten_on_request(photos: Photos) -> None:
    """With their variants; not where the whole root is gone."""
    (photos.root / "000.png").unlink()
    assert found(prune_variants(photos.dest, ACTOR, dry_run=False)) == {"unwanted": 2}
    done = prune_variants(photos.dest, ACTOR, dry_run=False, missing_sources=True)
    assert found(done) == {"sources": 1, "unwanted": 3}
    assert set(photos.entries()) == {"001.png"}
    (photos.root / "001.png").unlink()
    assert found(prune_variants(photos.dest, ACTOR, dry_run=False, missing_sources=True)) == {}


def test_pruning_needs_an_actor_and_an_allowed_folder(photos: Photos) -> None:
    """And is written into the audit log."""
    with pytest.raises(ValueError, match="actor"):
        prune_variants(photos.dest, None, dry_run=False)
    with pytest.raises(DestRefused, match="IMAGE_DEST_ROOTS"):
        prune_variants("/etc", ACTOR, dry_run=False)
    prune_variants(photos.dest, ACTOR, dry_run=False)
    (entry,) = query("SELECT actor, reason, subject, before_state FROM audit_log WHERE action = 'prune_variants'")
    assert entry[:3] == ("tester", "because", f"image_dest:{photos.dest}")
    assert "100x75" not in entry[3] and "120x90" in entry[3]


def test_the_commands(photos: Photos, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`ops images show`, `manifest` and `prune` say as much as the functions do."""
    ops = Ops(capsys)
    assert ops("images", "show", "--json").document == [
        {"path": str(photos.dest), "sources": 2, "files": 8, "bytes": sum(map(len, photos.files().values()))}
    ]
    shown = ops("images", "show", str(photos.root / "000.png"), "--dest", str(photos.dest), "--json").document
    assert set(shown["variants"]) == {"small", "large"}
    assert shown["srcset"]["jpeg"].endswith(" 100w")
    assert "80w" not in ops("images", "show", str(photos.root / "000.png"), "--dest", str(photos.dest)).out
    assert ops("images", "show", "/nothing.png", "--dest", str(photos.dest)).code == 3
    assert ops("images", "show", "/nothing.png").code == 2
    assert len(ops("images", "manifest", str(photos.dest)).document["images"]) == 2
    out = tmp_path / "manifest.json"
    assert ops("images", "manifest", str(photos.dest), "--out", str(out), "--json").document["images"] == 2
    assert '"content"' in out.read_text()
    assert ops("images", "prune", str(photos.dest), "--dry-run", "--json").document["unwanted"] == 2
    assert ops("images", "prune", str(photos.dest)).code == 2
    assert "removed: 2 variants" in ops("images", "prune", str(photos.dest), "--reason", "tidy").out
    assert len(photos.files()) == 6
