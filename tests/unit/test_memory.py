"""A child's memory: limited, and measured per attempt."""

from __future__ import annotations

import multiprocessing

from tasks.memory import limit_memory, peak_memory_kb, reset_peak_memory


def _hog(limit_mb: int, answers: multiprocessing.Queue[str]) -> None:
    limit_memory(limit_mb)
    try:
        bytearray(4 * limit_mb * 1024 * 1024)
    except MemoryError:
        answers.put("MemoryError")
    else:
        answers.put("no limit")


def test_a_job_that_asks_for_too_much_gets_a_memory_error() -> None:
    """The process stays, and so do the others of the host."""
    # A process of its own: what this one holds already would count.
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[str] = context.Queue()
    child = context.Process(target=_hog, args=(512, answers))
    child.start()
    assert answers.get(timeout=20) == "MemoryError"
    child.join(20)


def test_the_peak_is_that_of_the_attempt() -> None:
    """After a reset the peak counts from what is held now."""
    reset_peak_memory()
    before = peak_memory_kb() or 0
    block = bytearray(b"x" * (64 * 1024 * 1024))
    during = peak_memory_kb() or 0
    del block
    reset_peak_memory()
    after = peak_memory_kb() or 0
    assert during - before > 60 * 1024
    assert after < during - 50 * 1024
