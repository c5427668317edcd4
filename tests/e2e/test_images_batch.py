"""Image batches by real workers: killed while they write, stopped in the middle, fed with bad files."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TEST_VAR
from tests.e2e.harness import Stack, wait_until
from tests.e2e.images import POINTS, VARIANTS, ImageLab, stack_settings
from tests.pictures import bomb, png

pytestmark = pytest.mark.stack(**stack_settings(TEST_VAR))


@pytest.fixture
def lab(stack: Stack) -> Iterator[ImageLab]:
    """The stack, quiet and empty, with no pictures yet."""
    made = ImageLab(stack)
    yield made
    made.close()


def test_killed_while_writing_no_file_is_torn_and_no_image_lost(lab: ImageLab) -> None:
    """kill -9 between written, named and recorded, and of a child at any moment; then a rerun encodes nothing."""
    lab.write(12)
    for point in POINTS:
        lab.failpoints.load(point, "kill")
    run_id = lab.start()
    lab.failpoints.wait_fired("images.before_record")
    lab.kill_child(random.Random(1))
    run = lab.wait_ended(run_id)
    assert [point for point in POINTS if not lab.failpoints.fired(point)] == []
    assert lab.problems(12) == []
    assert (run["status"], run["jobs_done"], run["jobs_dead"]) == ("completed", 12, 0)
    again = lab.run()
    assert (again["jobs_total"], again["result"]["unchanged"]) == (0, 12)
    changed = lab.run(variants=[VARIANTS[0], {**VARIANTS[1], "width": 60}])
    assert (changed["result"]["encoded"], changed["result"]["skipped"]) == (12, 24)


def test_a_pause_in_the_middle_of_a_batch_holds_it_and_a_resume_goes_on(lab: ImageLab) -> None:
    """Between two images; nothing is done meanwhile, and nothing twice."""
    lab.write(60)
    lab.failpoints.load("images.written", "delay 0.5", 60)
    run_id = lab.start()
    wait_until(lambda: lab.jobs_done(run_id) >= 2, 30, "the first images")
    who = ("--actor", "test", "--reason", "test")
    lab.stack.run("-m", "ops", "runs", "pause", run_id, *who)
    at_work = "SELECT COUNT(*) FROM jobs WHERE run_id = %s AND state IN ('queued', 'running')"
    wait_until(lambda: lab.database.value(at_work, run_id) == 0, 30, "the workers to stop")
    held = lab.jobs_done(run_id)
    assert held < 60
    lab.failpoints.unload("images.written")
    lab.stack.run("-m", "ops", "runs", "resume", run_id, *who)
    run = lab.wait_ended(run_id)
    assert (run["status"], run["jobs_done"]) == ("completed", 60)
    assert lab.problems(60) == []


def deaths(lab: ImageLab) -> int:
    """How many children of the pool have ended in the middle of something so far."""
    logs = (log.read_text(encoding="utf-8", errors="replace") for log in (lab.stack.var / "log").glob("images_*.log"))
    return sum(text.count("exited with") for text in logs)


def test_bad_files_are_letters_and_no_worker_dies_of_them(lab: ImageLab) -> None:
    """Twenty bad files among good ones: letters with code and path, the others done, no process dies."""
    lab.write(6)
    good = (lab.root / "000.png").read_bytes()
    bad = {f"empty{n}.png": b"" for n in range(3)}
    bad |= {f"page{n}.jpg": f"<html><body>{n}</body></html>".encode() for n in range(3)}
    bad |= {f"cut{n}.png": png(100, 100, n)[: -40 - n] for n in range(4)}
    bad |= {f"corrupt{n}.png": good[:200] + bytes(range(n, n + 60)) + good[260:] for n in range(3)}
    bad |= {f"bomb{n}.png": bomb(20_000 + n, 20_000) for n in range(3)}
    bad |= {f"text{n}.txt": b"not an image at all " * 20 for n in range(3)}
    for name, content in bad.items():
        (lab.root / name).write_bytes(content)
    (lab.root / "elsewhere.png").symlink_to("/etc/hostname")
    workers, died = lab.stack.pids("images"), deaths(lab)
    run = lab.run()
    letters = lab.database.rows("SELECT error FROM dead_letters")
    codes = {error.partition(":")[0] for (error,) in letters}
    assert len(letters) == run["jobs_dead"] == 20
    assert {"empty", "not_an_image", "truncated", "corrupt", "outside_roots"} <= codes
    assert all(str(lab.root) in error for (error,) in letters)
    assert sum(run["result"]["failed"].values()) == 20
    assert (run["status"], run["jobs_done"]) == ("completed", 6)
    assert lab.problems(6) == []
    # A child that has done its number of tasks is replaced, which is no death.
    assert (lab.stack.pids("images"), deaths(lab)) == (workers, died)


def test_the_gallery_is_made_and_made_again_without_work(lab: ImageLab) -> None:
    """The example runs as it stands: six photographs, a page that names their files, and nothing to do the second time."""
    first = lab.stack.run("-m", "examples.gallery", timeout_s=120).stdout
    page = Path(first.splitlines()[-1])
    named = set(re.findall(r"[0-9a-f]{2}/[0-9a-f]{62}[\w.-]+", page.read_text(encoding="utf-8")))
    assert len(named) == 6 * 4
    assert all((page.parent / name).is_file() for name in named)
    again = lab.stack.run("-m", "examples.gallery", timeout_s=60).stdout
    assert "'unchanged': 6" in again and "'encoded': 0" in again
