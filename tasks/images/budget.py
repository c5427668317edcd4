"""A budget of pixels for all workers of one host, so that two giants are not decoded at the same time.

Locks on ranges of one file, a byte per megapixel (fcntl(2)): they need no server, and the kernel gives them back when a
process ends, however it ends.  Nothing is ever written to the file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tasks.images.errors import PixelsBusy
from tasks.images.limits import Limits

LOCK_FILE: Final = "pixels.lock"
RETRY_S: Final = 0.1
RETRY_AFTER_S: Final = 5.0


@contextmanager
def pixels_reserved(
    pixels: int, limits: Limits, folder: Path | None, between: Callable[[], Any] | None = None
) -> Iterator[None]:
    """Hold a share of the host's budget for an image of ``pixels``, all frames together.

    Images up to ``limits.small_megapixels`` take none.  One that is larger than the budget takes all of it.  Waits up to
    ``limits.budget_wait_s``, calling ``between`` now and then; raises `PixelsBusy`.

    The locks belong to the process (POSIX), so two threads of one would not see each other's.
    """
    share = min(-(-pixels // 1_000_000), limits.budget_megapixels)
    if folder is None or share <= limits.small_megapixels:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + limits.budget_wait_s
        while not _take(descriptor, share, limits.budget_megapixels):
            if time.monotonic() >= until:
                raise PixelsBusy(share, limits.budget_megapixels, retry_after_s=RETRY_AFTER_S)
            if between is not None:
                between()
            time.sleep(RETRY_S * random.uniform(0.5, 1.5))
        yield
    finally:
        # Closing gives the locks back.
        os.close(descriptor)


def _take(descriptor: int, share: int, budget: int) -> bool:
    """Lock the first free range of ``share`` bytes; False if there is none."""
    for start in range(budget - share + 1):
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, share, start)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
        else:
            return True
    return False
