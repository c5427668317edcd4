"""One image can break its own decoder, and nothing else: not the worker, not the next image, not the host."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.images.decoder import Decoder
from tasks.images.engine import Engine
from tasks.images.errors import ImageError
from tasks.images.limits import Limits
from tasks.images.variants import Variant
from tests.waiting import wait_until

SMALL = [(Variant("a", 50), "jpeg")]


@pytest.fixture
def own() -> Iterator[Engine]:
    """An engine whose decoder may be ill-treated."""
    with Engine(Limits(memory_mb=256)) as engine:
        yield engine


def decoder_of(engine: Engine) -> Decoder:
    assert engine._decoder is not None
    return engine._decoder


def code_of(engine: Engine, source: Path, into: Path, between: Callable[[], None] | None = None) -> str:
    with pytest.raises(ImageError) as refused:
        engine.render(source, SMALL, into, between=between)
    assert list(into.iterdir()) == []
    return refused.value.code


def processes_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()]


def open_files() -> set[str]:
    return {f"{entry.name}:{entry.readlink()}" for entry in Path("/proc/self/fd").iterdir() if entry.exists()}


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def test_the_decoder_is_kept_for_the_next_image(own: Engine, samples: Path, into: Path) -> None:
    """Starting one costs a tenth of a second, so it is started once."""
    own.render(samples / "rgb.jpg", SMALL, into)
    pid = decoder_of(own).pid
    own.render(samples / "rgb.png", SMALL, into)
    assert decoder_of(own).pid == pid


def test_too_much_memory_ends_the_image_by_name(own: Engine, samples: Path, into: Path) -> None:
    """The limit is the kernel's, on all that the process holds; the next image, and this one under a higher limit, pass."""
    source = samples / "large-interlaced.png"
    own.limits = replace(own.limits, memory_mb=64)
    assert code_of(own, source, into) == "memory_limit"
    assert own.render(samples / "rgb.jpg", SMALL, into).outputs[0].width == 50
    own.close()
    own.limits = replace(own.limits, memory_mb=512)
    assert own.render(source, SMALL, into).outputs[0].width == 50


def test_too_much_time_ends_the_image_by_name(own: Engine, samples: Path, into: Path) -> None:
    """A decoder that does not answer is killed at the limit, and the next image gets another."""
    own.render(samples / "rgb.jpg", SMALL, into)
    for left in into.iterdir():
        left.unlink()
    pid = decoder_of(own).pid
    own.limits = replace(own.limits, time_s=0.5)
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    assert code_of(own, samples / "rgb.jpg", into) == "time_limit"
    assert 0.4 < time.monotonic() - began < 5
    own.limits = replace(own.limits, time_s=30)
    assert own.render(samples / "rgb.jpg", SMALL, into).outputs[0].width == 50
    assert decoder_of(own).pid != pid


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_decoder_that_dies_ends_the_image_by_name(own: Engine, samples: Path, into: Path, number: int) -> None:
    """The message tells by which signal; the next image is made as if nothing had been."""
    own.render(samples / "rgb.jpg", SMALL, into)
    for left in into.iterdir():
        left.unlink()
    pid = decoder_of(own).pid
    os.kill(pid, signal.SIGSTOP)

    def strike() -> None:
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)

    killer = threading.Timer(0.2, strike)
    killer.start()
    with pytest.raises(ImageError, match=signal.Signals(number).name) as refused:
        own.render(samples / "rgb.jpg", SMALL, into)
    killer.join()
    assert (refused.value.code, list(into.iterdir())) == ("decoder_killed", [])
    assert own.render(samples / "rgb.jpg", SMALL, into).outputs[0].width == 50


def test_a_decoder_that_died_between_images_is_replaced(own: Engine, samples: Path, into: Path) -> None:
    """No image pays for it."""
    own.render(samples / "rgb.jpg", SMALL, into)
    os.kill(decoder_of(own).pid, signal.SIGKILL)
    wait_until(lambda: not decoder_of(own).usable, timeout_s=5)
    assert own.render(samples / "rgb.jpg", SMALL, into).outputs[0].width == 50


def test_the_disk_may_be_full(own: Engine, samples: Path, into: Path) -> None:
    """No file is left that ends in the middle."""
    own.render(samples / "rgb.jpg", SMALL, into)
    for left in into.iterdir():
        left.unlink()
    resource.prlimit(decoder_of(own).pid, resource.RLIMIT_FSIZE, (200, 200))
    assert code_of(own, samples / "rgb.jpg", into) == "disk_full"


def test_results_need_a_folder_to_go_to(own: Engine, samples: Path, tmp_path: Path) -> None:
    """A missing one is the machine's fault, not the image's."""
    with pytest.raises(ImageError) as refused:
        own.render(samples / "rgb.jpg", SMALL, tmp_path / "nowhere")
    assert (refused.value.code, refused.value.verdict) == ("not_writable", "resources")


def test_whoever_waits_can_be_called_away(own: Engine, samples: Path, into: Path) -> None:
    """What ``between`` raises ends the work at once, and the decoder with it: it would answer the wrong question next."""

    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    own.render(samples / "rgb.jpg", SMALL, into)
    for left in into.iterdir():
        left.unlink()
    pid = decoder_of(own).pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(Stopped):
        own.render(samples / "rgb.jpg", SMALL, into, between=stop)
    assert (list(into.iterdir()), Path(f"/proc/{pid}").exists()) == ([], False)
    assert own.render(samples / "rgb.png", SMALL, into).probed.format == "png"


def test_a_file_that_changed_since_it_was_looked_at_is_refused(own: Engine, samples: Path, into: Path) -> None:
    """Its results would be stored under the hash of another content."""
    source = into.parent / "a.jpg"
    source.write_bytes((samples / "rgb.jpg").read_bytes())
    probed = own.probe(source)
    source.write_bytes((samples / "grey.jpg").read_bytes())
    with pytest.raises(ImageError) as refused:
        own.render(source, SMALL, into, probed=probed)
    assert refused.value.code == "changed"


def test_a_file_that_changes_while_it_is_read_is_refused(own: Engine, samples: Path, into: Path) -> None:
    """What was made of it is thrown away."""
    source = into.parent / "a.jpg"
    source.write_bytes((samples / "rgb.jpg").read_bytes())
    assert code_of(own, source, into, between=lambda: os.utime(source, (1, 1))) == "changed"


def test_nothing_is_left_behind(samples: Path, into: Path) -> None:
    """No zombie, no process, no descriptor: after success, failure and a kill."""
    before, children = open_files(), set(processes_of(os.getpid()))
    for _ in range(3):
        with Engine() as engine:
            engine.render(samples / "rgb.jpg", SMALL, into)
            with pytest.raises(ImageError):
                engine.render(into.parent / "missing.jpg", SMALL, into)
            os.kill(decoder_of(engine).pid, signal.SIGKILL)
            wait_until(lambda engine=engine: not decoder_of(engine).usable, timeout_s=5)  # type: ignore[misc]
            engine.render(samples / "rgb.jpg", SMALL, into)
            assert len(set(processes_of(os.getpid())) - children) == 1
    assert (open_files(), set(processes_of(os.getpid()))) == (before, children)


_WORKER = """
import json, os, sys
from pathlib import Path
from tasks.images.engine import Engine
from tasks.images.variants import Variant
engine = Engine()
engine.render(Path(sys.argv[1]), [(Variant("a", 50), "jpeg")], Path(sys.argv[2]))
loaded = {name: name in sys.modules for name in ("pyvips", "celery")}
print(json.dumps({"decoder": engine._decoder.pid, **loaded}), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("busy", [True, False])
def test_the_decoder_dies_with_its_worker(samples: Path, into: Path, busy: bool) -> None:
    """However the worker dies, and whatever the decoder is doing: nobody is left to hear it."""
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER, str(samples / "rgb.jpg"), str(into)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "DATABASE_URL": "mysql://secret"},
    )
    assert worker.stdout is not None
    said = json.loads(worker.stdout.readline())
    pid = said["decoder"]
    assert (said["pyvips"], said["celery"]) == (False, False)
    assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()
    if busy:
        # A stopped process can still be killed by the kernel, but reads no end of file.
        os.kill(pid, signal.SIGSTOP)
    worker.kill()
    worker.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in _state(pid), timeout_s=10)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_a_fork_gets_a_decoder_of_its_own(own: Engine, samples: Path, into: Path) -> None:
    """Two processes that talk to one decoder would hear each other's answers; the parent's stays alive."""
    own.render(samples / "rgb.jpg", SMALL, into)
    pid = decoder_of(own).pid
    child = os.fork()
    if child == 0:
        try:
            made = own.render(samples / "rgb.jpg", SMALL, into).outputs[0].width == 50
            mine = decoder_of(own).pid != pid
            own.close()
            os._exit(0 if made and mine else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    own.render(samples / "rgb.jpg", SMALL, into)
    assert decoder_of(own).pid == pid
