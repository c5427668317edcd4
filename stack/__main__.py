"""``python -m stack up|down|restart|status|logs|demo``: what the Makefile calls."""

from __future__ import annotations

import os
import subprocess
import sys

from stack.errors import StackError
from stack.layout import PROJECT, var_dir
from stack.up import down, restart, status, up


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    commands = {"up": _up, "down": _down, "status": _status, "logs": _logs, "demo": _demo}
    restarting = arguments[:1] == ["restart"]
    if not restarting and (len(arguments) != 1 or arguments[0] not in commands):
        print(f"usage: python -m stack {'|'.join(commands)}|restart [GROUP …]", file=sys.stderr)
        return 2
    try:
        if restarting:
            restart(arguments[1:])
            return 0
        return commands[arguments[0]]()
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1


def _up() -> int:
    plan = up()
    valkey = f"private, port {plan.endpoints.valkey_port}" if plan.private_valkey else "yours"
    mariadb = f"private, port {plan.endpoints.mariadb_port}" if plan.private_mariadb else "yours"
    print(f"The stack is up. Redis: {valkey}. MariaDB: {mariadb}. Settings: {plan.env_file}")
    print(
        f"Flower: {plan.settings['FLOWER_URL']} (user {plan.settings['FLOWER_USER']}, password: FLOWER_PASSWORD in {plan.env_file})"
    )
    return 0


def _down() -> int:
    print("The stack is down; its data stays." if down() else "The stack was not up.")
    return 0


def _status() -> int:
    return 0 if status() else 3


def _logs() -> int:
    files = sorted(str(file) for file in (var_dir() / "log").glob("*.log"))
    if not files:
        raise StackError(f"no logs in {var_dir() / 'log'}: `make up` first")
    os.execvp("tail", ["tail", "-n", "20", "-F", *files])  # noqa: S606 - becomes `tail`, so that ^C ends it


def _demo() -> int:
    if not (PROJECT / "examples" / "demo.py").exists():
        print("The stack is up; the sample import (examples/demo.py) is not there yet.")
        return 0
    return subprocess.run([sys.executable, "-m", "examples.demo"], cwd=PROJECT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
