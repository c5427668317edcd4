"""What a machine hears that cannot set Holdfast up."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from stack.debian import Program, nginx_program, smtp_sink_program
from stack.errors import ServerMissing
from stack.layout import PROJECT
from stack.mariadb_programs import mariadb_programs


def _program(directory: Path, name: str, text: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def _make_venv(path: Path, venv: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(PROJECT / "stack" / "venv.sh"), str(venv)],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_apt_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No MariaDB, nothing to fetch it with: the error names the packages, the programs and DATABASE_URL."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOLDFAST_MARIADB", "packages")
    monkeypatch.setenv("HOLDFAST_MARIADB_DIR", str(tmp_path / "packages"))
    with pytest.raises(ServerMissing) as caught:
        mariadb_programs()
    for word in ("apt-get install mariadb-server", "dnf install", "mariadb-install-db", "DATABASE_URL"):
        assert word in str(caught.value)


def test_a_download_that_fails_is_told_in_apts_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What apt complained about is in the message, and the next try starts over."""
    _program(tmp_path, "apt-get", "echo 'E: Unable to locate package' >&2; exit 100")
    _program(tmp_path, "dpkg-deb", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("HOLDFAST_MARIADB", "packages")
    monkeypatch.setenv("HOLDFAST_MARIADB_DIR", str(tmp_path / "packages"))
    for _ in range(2):
        with pytest.raises(ServerMissing, match="Unable to locate package"):
            mariadb_programs()
    assert not (tmp_path / "packages" / "root").exists()


def test_a_wrong_switch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """HOLDFAST_MARIADB takes two words."""
    monkeypatch.setenv("HOLDFAST_MARIADB", "docker")
    with pytest.raises(ServerMissing, match="`path` or `packages`"):
        mariadb_programs()


def test_an_old_python_alone_is_named(tmp_path: Path) -> None:
    """Only Python 3.9 on the PATH: the message says that 3.11 is needed, and what was found."""
    _program(tmp_path, "python3", 'case "$2" in *version_info*"<"*) exit 1;; *) echo 3.9;; esac')
    done = _make_venv(tmp_path, tmp_path / "venv")
    assert done.returncode == 1
    assert "needs Python 3.11 or newer, found python3 (3.9)" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_python_without_venv_is_named(tmp_path: Path) -> None:
    """Debian's Python comes without venv: the message says which package has it."""
    _program(tmp_path, "python3", 'case "$2" in *ensurepip*) exit 1;; *) echo 3.11;; esac')
    done = _make_venv(tmp_path, tmp_path / "venv")
    assert done.returncode == 1
    assert "python3 (3.11)" in done.stderr
    assert "apt-get install python3-venv" in done.stderr


def test_no_python_at_all_is_said(tmp_path: Path) -> None:
    """An empty PATH, or shims with nothing behind them."""
    _program(tmp_path, "python3.12", "exit 127")
    done = _make_venv(tmp_path, tmp_path / "venv")
    assert done.returncode == 1
    assert "found none" in done.stderr


@pytest.mark.parametrize("program", [nginx_program, smtp_sink_program])
def test_a_test_server_that_cannot_be_fetched_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Callable[[], Program]
) -> None:
    """No nginx, no smtp-sink, no apt: the error names the program and the package that has it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("stack.debian.SBIN", str(tmp_path))
    monkeypatch.setenv("HOLDFAST_PACKAGES_DIR", str(tmp_path / "packages"))
    with pytest.raises(ServerMissing, match=r"(nginx is needed.*package nginx)|(smtp-sink is needed.*package postfix)"):
        program()
