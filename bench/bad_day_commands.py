"""The bad day, handled with nothing but the command line."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import Any

from bench.bad_day_diary import Diary
from bench.bad_day_trouble import CLOSED, PROVIDER, BadDay
from stack.layout import PROJECT

ACTOR = "olga"


class Terminal:
    """A shell in the project's directory, with the stack's settings; what is typed and shown goes into the diary."""

    def __init__(self, day: BadDay, diary: Diary) -> None:
        self._environment = {**day.stack.environment, "HOLDFAST_ACTOR": ACTOR, "COLUMNS": "160"}
        self._diary = diary

    def ops(self, *words: str, most: int = 14, code: int | None = 0) -> str:
        """``python -m ops …``, shown."""
        self._diary.does(f"python -m ops {shlex.join(words)}")
        ran = self._run("-m", "ops", *words)
        self._diary.sees(ran.stdout + ran.stderr, most=most)
        assert code is None or ran.returncode == code, f"{words}: exit {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def quietly(self, *words: str) -> Any:
        """The same with ``--json``, not shown: what somebody who waits looks at again and again."""
        return json.loads(self._run("-m", "ops", *words, "--json").stdout)

    def stack(self, command: str, *, most: int = 14) -> None:
        """``make …``, shown."""
        self._diary.does(f"make {command}")
        ran = self._run("-m", "stack", command)
        self._diary.sees(ran.stdout + ran.stderr, most=most)

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=PROJECT,
            env=self._environment | {"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def handle(day: BadDay, diary: Diary) -> None:
    """From the first call until all is well."""
    shell = Terminal(day, diary)
    diary.step("Called")
    day.wait_firing("workers on imports", "paused limits")
    shell.ops("alerts", "list", code=1)
    shell.ops("runs", "list", "--status", "open")
    diary.decides(
        "Three things at once. The pool first: while nobody imports, everything else of it waits. The limit pauses one "
        "provider and loses nothing meanwhile."
    )

    diary.step("The imports pool is dead")
    shell.ops("runs", "explain", day.products.run_id[:8])
    shell.stack("status", most=12)
    diary.decides("Its program was stopped, nobody will start it again: start it.")
    shell.stack("up", most=4)
    shell.ops("queues")
    shell.ops("audit", "--action", "redis_lost")
    diary.decides(
        "Redis was emptied as well: the dispatchers have put back what was queued and sent it again. Nothing to do for it."
    )

    diary.step("Dead letters pour in")
    day.wait_orders()
    day.wait_firing("new dead letters")
    shell.ops("dead-letters", "list", "--group")
    trouble, closed = _letters(shell, "day_import"), _letters(shell, "shop_reports")
    example = shell.quietly("dead-letters", "list", "--kind", "day_import", "--limit", "1")[0]["id"]
    shell.ops("dead-letters", "show", str(example), most=8)
    diary.decides(
        f"{trouble['count']} chunks of one import, one cause: a trigger of the table wants a price list that is not there. Not "
        "the file's fault, not ours: the people of the database put it there. The closed shops are another thing: nobody "
        "wants their reports any more."
    )
    day.mend_the_table()
    shell.ops("dead-letters", "replay", str(example), "--reason", "the price list is there: one to try")
    day.wait_letter(example, "replayed")
    rest = trouble["count"] - 1
    shell.ops("dead-letters", "replay", "--all", "--fingerprint", trouble["fingerprint"], "--dry-run")
    replay = ("replay", "--all", "--fingerprint", trouble["fingerprint"], "--expect", str(rest), "--per-second", "5")
    shell.ops("dead-letters", *replay, "--reason", "the price list is there")
    discard = ("discard", "--all", "--fingerprint", closed["fingerprint"])
    shell.ops("dead-letters", *discard, "--dry-run")
    shell.ops("dead-letters", *discard, "--expect", str(CLOSED), "--reason", "these shops were closed in May")

    diary.step("The provider throttles")
    shell.ops("limits")
    shell.ops("runs", "explain", day.campaign_run[:8])
    shell.ops("email", "report", "spring", most=6)
    diary.decides(
        "The provider refused with 454 and is left alone by everybody. Called them: the limit was theirs, it is raised now. No "
        "need to wait for the rest of the pause."
    )
    day.mend_the_provider()
    shell.ops("limits", "resume", PROVIDER, "--reason", "their support raised the limit, ticket 4711")
    shell.ops("runs", "watch", day.campaign_run[:8], "--timeout", "100", most=4)

    diary.step("Is it over?")
    day.wait_calm()
    shell.ops("alerts", "list")
    shell.ops("health", most=30)
    shell.ops("runs", "list")
    shell.ops("audit")


def _letters(shell: Terminal, kind: str) -> dict[str, Any]:
    groups: list[dict[str, Any]] = shell.quietly("dead-letters", "list", "--group", "--kind", kind)
    return groups[0] if groups else {}
