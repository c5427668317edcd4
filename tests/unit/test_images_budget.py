"""Two giants are not decoded at the same time on one host, and nobody who died keeps a share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.images.budget import pixels_reserved
from tasks.images.errors import PixelsBusy
from tasks.images.limits import Limits

LIMITS = Limits(budget_megapixels=100, small_megapixels=10, budget_wait_s=0.3)
_HOLDER = """
import sys
from pathlib import Path
from tasks.images.budget import pixels_reserved
from tasks.images.limits import Limits
with pixels_reserved(int(sys.argv[1]) * 1_000_000, Limits(budget_megapixels=100, small_megapixels=10), Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(megapixels: int, folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(megapixels), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize(
    ("held", "wanted", "goes"),
    [(60, 40, True), (60, 41, False), (60, 500, False), (500, 11, False), (500, 10, True), (11, 89, True)],
)
def test_shares_add_up_to_the_budget(tmp_path: Path, held: int, wanted: int, goes: bool) -> None:
    """In megapixels; a giant beyond the budget takes all of it, and small images need none."""
    process = holder(held, tmp_path)
    try:
        if goes:
            with pixels_reserved(wanted * 1_000_000, LIMITS, tmp_path):
                pass
        else:
            began = time.monotonic()
            with pytest.raises(PixelsBusy) as busy, pixels_reserved(wanted * 1_000_000, LIMITS, tmp_path):
                pass
            assert (0.3 <= time.monotonic() - began < 5, busy.value.retry_after_s > 0) == (True, True)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_who_dies_gives_its_share_back(tmp_path: Path, how: int) -> None:
    """The kernel does, however the process ends."""
    process = holder(80, tmp_path)
    os.kill(process.pid, how)
    process.communicate()
    with pixels_reserved(80_000_000, LIMITS, tmp_path):
        pass


def test_a_share_is_given_back_at_the_end(tmp_path: Path) -> None:
    """To another process, at once."""
    with pixels_reserved(80_000_000, LIMITS, tmp_path):
        pass
    process = holder(80, tmp_path)
    process.kill()
    process.communicate()


def test_who_waits_can_be_called_away(tmp_path: Path) -> None:
    """A pause or a cancel does not wait for a giant."""

    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    process = holder(80, tmp_path)
    try:
        with pytest.raises(Stopped), pixels_reserved(80_000_000, LIMITS, tmp_path, stop):
            pass
    finally:
        process.kill()
        process.communicate()
