"""An image batch from its start to its totals: what is made once is made once, and the rows point to whole files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runstate.statuses import RunStatus
from tasks import clients
from tasks.envelope import run_jobs
from tasks.images.engine import Engine, Rendered
from tasks.images.errors import ImageError, PixelsBusy
from tasks.images.kind import IMAGE, IMAGE_BATCH
from tasks.images.manifest import find_entry, srcset
from tasks.images.storage import LocalFolder
from tests.integration.images import LARGE, SMALL, Photos, counts, finished, letters
from tests.integration.machinery import execute, job, planned, query, queued, run_of, work_off
from tests.pictures import bomb, png, write_pictures


@pytest.fixture
def photos(machinery: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Photos]:
    """Three photographs, and the folders that images may be read from and written to."""
    monkeypatch.setenv("IMAGE_ROOTS", str(tmp_path / "in"))
    monkeypatch.setenv("IMAGE_DEST_ROOTS", str(tmp_path / "out"))
    clients.reset()
    write_pictures(tmp_path / "in", 3)
    aged(tmp_path / "in")
    yield Photos(tmp_path / "in", tmp_path / "out" / "web")
    clients.reset()


def aged(folder: Path) -> None:
    """Let the files be a minute old: one that was written this very moment is not trusted to be what it was."""
    for path in folder.rglob("*"):
        before = path.stat().st_mtime_ns - 60_000_000_123
        os.utime(path, ns=(before, before))


def test_variants_are_made_once_and_a_rerun_makes_no_job(photos: Photos) -> None:
    """Rows, files and manifest agree; what is unchanged costs no job."""
    first = photos.run()
    assert counts(first) == {"found": 3, "images": 3, "encoded": 6}
    assert first.result is not None and first.result["bytes"] == sum(map(len, photos.files().values()))
    assert photos.check_whole() == 6
    assert set(photos.files()) == {row[0] for row in query("SELECT path FROM image_variants")}
    before = photos.files()
    again = photos.run()
    assert counts(again) == {"found": 3, "unchanged": 3}
    assert again.jobs_total == 0
    assert photos.files() == before


def test_the_manifest_says_what_stands_for_an_image(photos: Photos) -> None:
    """Source, content, sizes, and an srcset with each width once."""
    photos.run(variants=[SMALL, LARGE, {"name": "huge", "width": 4000, "formats": ["jpeg"]}])
    entry = photos.entries()["000.png"]
    assert (entry.asset.format, entry.asset.width, entry.asset.height) == ("png", 160, 120)
    small = entry.variants["small"]["webp"]
    assert (small.width, small.height) == (80, 60)
    assert small.colour.startswith("#") and len(small.colour) == 7
    assert srcset(entry, "jpeg", base_url="/i") == ", ".join(
        f"/i/{entry.variants[name]['jpeg'].path} {width}w"
        for name, width in (("small", 80), ("large", 120), ("huge", 160))
    )
    assert srcset(entry, "webp", names=["large"]) == ""
    with clients.engine().connect() as connection:
        assert find_entry(connection, photos.dest, photos.root / "000.png") == entry
        assert find_entry(connection, photos.dest, photos.root / "999.png") is None


def test_one_changed_variant_is_encoded_alone(photos: Photos) -> None:
    """The others stay as they are, to the inode."""
    photos.run(variants=[SMALL, LARGE])
    inodes = {path: os.stat(photos.dest / path).st_ino for path in photos.files()}
    done = photos.run(variants=[SMALL, {**LARGE, "width": 100}])
    assert counts(done) == {"found": 3, "images": 3, "encoded": 3, "skipped": 6}
    assert {path: os.stat(photos.dest / path).st_ino for path in inodes} == inodes
    assert photos.entries()["001.png"].variants["large"]["jpeg"].width == 100


def test_a_variant_of_another_name_stays_wanted(photos: Photos) -> None:
    """A start decides about the variants that it names; the same picture under another name costs nothing."""
    photos.run(variants=[SMALL])
    photos.run(variants=[LARGE])
    assert set(photos.entries()["000.png"].variants) == {"small", "large"}
    renamed = photos.run(variants=[{**LARGE, "name": "big"}])
    assert counts(renamed) == {"found": 3, "images": 3, "skipped": 3}
    assert set(photos.entries()["000.png"].variants) == {"small", "large", "big"}


def test_the_same_bytes_under_two_names_are_one_asset(photos: Photos) -> None:
    """One set of files, two entries."""
    (photos.root / "copy.png").write_bytes((photos.root / "000.png").read_bytes())
    done = photos.run()
    assert counts(done) == {"found": 4, "images": 4, "encoded": 6, "skipped": 2}
    assert query("SELECT COUNT(*) FROM image_assets") == [(3,)]
    entries = photos.entries()
    assert entries["copy.png"].variants == entries["000.png"].variants
    assert len(photos.files()) == photos.check_whole() == 6


def test_two_jobs_with_the_same_bytes_at_once_do_not_collide(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one does all of its work between the first one's encoding and its files' names."""
    (photos.root / "copy.png").write_bytes((photos.root / "000.png").read_bytes())
    put = LocalFolder.put
    met: list[int] = []

    def meet(self: LocalFolder, files: Any) -> None:
        if not met:
            met.append(1)
            photos.run_one(photos.root / "copy.png")
        put(self, files)

    monkeypatch.setattr(LocalFolder, "put", meet)
    done = photos.run([photos.root / "000.png"])
    assert counts(done) == {"found": 1, "images": 1, "encoded": 2}
    assert len(photos.files()) == photos.check_whole() == 2
    assert set(photos.entries()) == {"000.png", "copy.png"}


def test_a_result_removed_by_hand_is_made_again(photos: Photos) -> None:
    """And one that was cut short; the rest is not touched."""
    photos.run()
    names = sorted(photos.files())
    gone, cut = names[0], names[2]
    before = photos.files()
    (photos.dest / gone).unlink()
    (photos.dest / cut).write_bytes(b"x")
    done = photos.run()
    assert done.result is not None and (done.result["encoded"], done.jobs_total) == (2, 2)
    assert photos.files() == before
    assert photos.check_whole() == 6


def test_a_changed_original_gets_new_variants(photos: Photos) -> None:
    """By size or time; one that was only touched is looked at, and nothing is encoded."""
    photos.run()
    (photos.root / "000.png").write_bytes(png(100, 100, 77))
    os.utime(photos.root / "001.png")
    done = photos.run()
    assert counts(done) == {"found": 3, "unchanged": 1, "images": 2, "encoded": 2, "skipped": 2}
    assert photos.entries()["000.png"].asset.width == 100
    photos.check_whole()


def test_an_original_that_changes_after_planning_is_made_as_it_is_now(photos: Photos) -> None:
    """And the result says so."""
    run_id = photos.start()
    (photos.root / "000.png").write_bytes(png(100, 100, 77))
    done = finished(IMAGE_BATCH, run_id)
    assert counts(done) == {"found": 3, "images": 3, "encoded": 6, "changed": 1}
    assert photos.entries()["000.png"].asset.width == 100


def test_an_original_just_written_is_looked_at_twice(photos: Photos) -> None:
    """Its time could not show another change within the same tick: the next run looks at it, and encodes nothing."""
    path = photos.root / "000.png"
    future = path.stat().st_mtime_ns + 3_600_000_000_000
    os.utime(path, ns=(future, future))
    photos.run([path])
    assert counts(photos.run([path])) == {"found": 1, "images": 1, "skipped": 2}


def test_bad_files_are_letters_with_code_and_path_and_the_others_are_done(photos: Photos) -> None:
    """Each says what is wrong and where; the totals count them by code; a replay does one that was mended."""
    (photos.root / "empty.png").write_bytes(b"")
    (photos.root / "page.png").write_bytes(b"<!DOCTYPE html><html><body>404</body></html>")
    (photos.root / "cut.png").write_bytes((photos.root / "000.png").read_bytes()[:-200])
    (photos.root / "bomb.png").write_bytes(bomb())
    (photos.root / "folder.png").mkdir()
    (photos.root / "out.png").symlink_to("/etc/hostname")
    sources = [*sorted(photos.root.glob("*.png")), photos.root / "absent.png"]
    done = photos.run(sources)
    found = letters(done)
    codes = {name: error.partition(":")[0] for name, error in found.items()}
    assert codes.pop("bomb.png") in ("suspicious_ratio", "too_many_pixels")
    assert codes == {
        "empty.png": "empty",
        "page.png": "not_an_image",
        "cut.png": "truncated",
        "folder.png": "not_a_file",
        "out.png": "outside_roots",
        "absent.png": "missing",
    }
    assert all(str(photos.root / name) in error for name, error in found.items())
    assert done.result is not None and sum(done.result["failed"].values()) == 7
    assert (done.result["failed"]["empty"], done.result["images"]) == (1, 3)
    assert photos.check_whole() == 6
    assert set(photos.files()) == {row[0] for row in query("SELECT path FROM image_variants")}


def test_letters_are_grouped_by_trouble_and_not_by_file(photos: Photos) -> None:
    """Two empty files are one group."""
    for name in ("e'1.png", "e2.png"):
        (photos.root / name).write_bytes(b"")
    photos.run()
    assert query("SELECT COUNT(*), COUNT(DISTINCT fingerprint) FROM dead_letters") == [(2, 1)]


def test_a_name_that_is_not_utf8_is_a_letter(photos: Photos) -> None:
    """And fails neither the planning nor its neighbours."""
    with open(os.fsencode(photos.root) + b"/caf\xe9.png", "wb") as file:
        file.write(png(8, 8))
    done = photos.run()
    assert next(iter(letters(done).values())).startswith("bad_name: ")
    assert done.result is not None and done.result["images"] == 3


@pytest.mark.parametrize("code", ["decoder_killed", "memory_limit", "time_limit"])
def test_an_image_that_breaks_its_decoder_three_times_is_a_letter(
    photos: Photos, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice it is tried again, for it may have been the moment's fault."""

    def breaks(self: Engine, *_: Any, **__: Any) -> Rendered:
        raise ImageError(code, "signal 9")

    monkeypatch.setattr(Engine, "render", breaks)
    run_id = photos.start([photos.root / "000.png"])
    for attempt in (1, 2):
        run_jobs(IMAGE_BATCH, run_id, 1, "test")
        assert (job(run_id, 1).state, job(run_id, 1).attempts) == ("pending", attempt)
        execute("UPDATE jobs SET state = 'queued', due_at = NOW(6) WHERE run_id = :r AND job_no = 1", r=run_id)
    done = finished(IMAGE_BATCH, run_id)
    assert letters(done)["000.png"].startswith(f"{code}: ")
    assert done.result is not None and done.result["failed"] == {code: 1}


def test_an_image_that_has_to_wait_for_a_giant_uses_no_attempt(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is snoozed for as long as the engine says."""

    def busy(self: Engine, *_: Any, **__: Any) -> Rendered:
        raise PixelsBusy(100, 160, retry_after_s=30.0)

    monkeypatch.setattr(Engine, "render", busy)
    run_id = photos.start([photos.root / "000.png"])
    work_off(IMAGE_BATCH, run_id)
    assert (job(run_id, 1).state, job(run_id, 1).attempts) == ("pending", 0)
    (wait_s,) = query(
        "SELECT TIMESTAMPDIFF(SECOND, NOW(6), due_at) FROM jobs WHERE run_id = :r AND job_no = 1", r=run_id
    )[0]
    assert 25 <= wait_s <= 30


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "disk_full"), (errno.EACCES, "not_writable")])
def test_a_full_disk_pauses_the_run_and_leaves_nothing(
    photos: Photos, number: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No attempt is used, no partial file stays; after a resume the images are made."""
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "rename", full)
    run_id = photos.start([photos.root / "000.png"])
    work_off(IMAGE_BATCH, run_id)
    paused = run_of(run_id)
    assert paused.status is RunStatus.PAUSED
    assert paused.reason is not None and code in paused.reason and "resume" in paused.reason
    assert photos.files() == {}
    assert query("SELECT COUNT(*) FROM image_variants") == [(0,)]
    monkeypatch.setattr(Path, "rename", rename)
    execute("UPDATE runs SET status = 'running' WHERE run_id = :r", r=run_id)
    execute("UPDATE jobs SET state = 'queued', due_at = NOW(6) WHERE run_id = :r AND state = 'pending'", r=run_id)
    assert counts(finished(IMAGE_BATCH, run_id)) == {"found": 1, "images": 1, "encoded": 2}


def test_a_late_worker_writes_no_row(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are whole, and nobody points to them."""
    put = LocalFolder.put

    def lose(self: LocalFolder, files: Any) -> None:
        put(self, files)
        execute("UPDATE runs SET fence = fence + 1")

    monkeypatch.setattr(LocalFolder, "put", lose)
    run_id = photos.start([photos.root / "000.png"])
    run_jobs(IMAGE_BATCH, run_id, 1, "test")
    assert len(photos.files()) == 2
    assert query("SELECT COUNT(*) FROM image_variants") == query("SELECT COUNT(*) FROM image_sources") == [(0,)]


def test_a_variant_pruned_under_a_job_is_made_again(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the job found and meant to point to is looked at once more in its record."""
    photos.run([photos.root / "000.png"])
    (photos.root / "copy.png").write_bytes((photos.root / "000.png").read_bytes())
    from tasks import failpoints

    def prune(point: str, *_: Any) -> None:
        if point == "images.before_record":
            monkeypatch.undo()
            execute("DELETE FROM image_variants")

    roots = {name: os.environ[name] for name in ("IMAGE_ROOTS", "IMAGE_DEST_ROOTS")}
    monkeypatch.setattr(failpoints, "hit", prune)
    run_id = photos.start([photos.root / "copy.png"])
    run_jobs(IMAGE_BATCH, run_id, 1, "test")
    for name, value in roots.items():
        monkeypatch.setenv(name, value)
    assert job(run_id, 1).state == "pending" and job(run_id, 1).attempts == 1
    execute("UPDATE jobs SET state = 'queued', due_at = NOW(6) WHERE run_id = :r AND job_no = 1", r=run_id)
    assert counts(finished(IMAGE_BATCH, run_id)) == {"found": 1, "images": 1, "encoded": 2}
    assert photos.check_whole() == 2


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"dest": "/tmp/elsewhere"}, "IMAGE_DEST_ROOTS"),
        ({"sources": "/etc/*"}, "IMAGE_ROOTS"),
        ({"sources": "{root}/fotos/*"}, "there is no folder"),
    ],
)
def test_what_is_wrong_for_every_image_fails_the_run(photos: Photos, wrong: dict[str, str], reason: str) -> None:
    """In its planning, with what to change."""
    given = {"sources": f"{photos.root}/*.png", "variants": [SMALL], "dest": photos.dest}
    run_id = planned(IMAGE_BATCH, **(given | {name: text.format(root=photos.root) for name, text in wrong.items()}))
    failed = run_of(run_id)
    assert failed.status is RunStatus.FAILED
    assert failed.reason is not None and reason in failed.reason


def test_one_batch_of_a_destination_at_a_time(photos: Photos) -> None:
    """A second one is refused; another destination, and a single image, are not."""
    photos.start()
    from tests.integration.machinery import admitted

    second = admitted(IMAGE_BATCH, sources=[photos.root / "000.png"], variants=[SMALL], dest=photos.dest)
    assert run_of(second).status is RunStatus.REFUSED
    other = admitted(IMAGE_BATCH, sources=[photos.root / "000.png"], variants=[SMALL], dest=f"{photos.dest}2")
    assert run_of(other).status is RunStatus.PLANNING
    assert counts(photos.run_one(photos.root / "000.png")) == {"found": 1, "images": 1, "encoded": 2}


def test_a_single_image_that_is_unchanged_makes_no_job(photos: Photos) -> None:
    """`process_image` is a batch of one."""
    photos.run_one(photos.root / "000.png")
    assert counts(photos.run_one(photos.root / "000.png")) == {"found": 1, "unchanged": 1}
    assert IMAGE.start_name == "process_image"


def test_a_long_list_is_spooled_and_streamed(photos: Photos) -> None:
    """Too long for the run's row: 1,500 names, of which three are files."""
    absent = [photos.root / f"{'x' * 60}-{number}.png" for number in range(1_500)]
    run_id = photos.start([*sorted(photos.root.glob("*.png")), *absent])
    assert query("SELECT COUNT(*) > 0 FROM spooled_lists WHERE run_id = :r", r=run_id) == [(1,)]
    assert run_of(run_id).jobs_total == 1_503
    assert run_of(run_id).args["sources"] != []
    for _ in range(3):
        run_jobs(IMAGE_BATCH, run_id, queued(run_id)[0], "test")
    assert photos.check_whole() == 6


def test_a_link_that_is_turned_while_it_is_opened_leads_nowhere(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was allowed, and then leads out of the roots: nothing is made of what lies there."""
    (tmp_path / "secret.png").write_bytes(png(50, 50, 9))
    link = photos.root / "folder"
    (photos.root / "real").mkdir()
    (photos.root / "real" / "secret.png").write_bytes(png(60, 60, 9))
    link.symlink_to(photos.root / "real")
    run_id = photos.start([link / "secret.png"])
    probe = Engine.probe

    def turned(self: Engine, source: Path) -> Any:
        (photos.root / "real").rename(photos.root / "was")
        (photos.root / "real").symlink_to(tmp_path)
        return probe(self, source)

    monkeypatch.setattr(Engine, "probe", turned)
    run_jobs(IMAGE_BATCH, run_id, 1, "test")
    assert (job(run_id, 1).state, job(run_id, 1).last_error.partition(":")[0]) == ("pending", "changed")
    assert photos.files() == {}


def test_originals_are_never_touched(photos: Photos) -> None:
    """Bytes, times and names are what they were, even if the results go into the same folder."""
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in photos.root.rglob("*")}
    photos.run()
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in photos.root.rglob("*")} == before
