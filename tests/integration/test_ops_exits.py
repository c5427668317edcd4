"""What scripts may rely on: exit codes, JSON from every command, who and why for every change, dry runs that change nothing."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator

import pytest

from ops import exits
from ops.cli import COMMANDS as MODULES
from ops.cli import parser
from stack.layout import PROJECT
from stack.private import Servers
from tests.integration.machinery import planned, query, work_off
from tests.integration.ops_command import Ops
from tests.kinds import KEYED

pytestmark = pytest.mark.usefixtures("machinery")
WHY = ("--reason", "a test", "--actor", "anna")
NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def ops(capsys: pytest.CaptureFixture[str]) -> Ops:
    """The command line."""
    return Ops(capsys)


def commands(
    top: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that does something, with its words."""
    if top.get_default("run") is not None:
        yield " ".join(words), top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from commands(below, (*words, name))


COMMANDS = dict(commands(parser()))


@pytest.mark.parametrize("words", sorted(COMMANDS))
def test_every_command_takes_json(words: str) -> None:
    """`--json` everywhere; whatever takes a reason takes an actor and a dry run, too."""
    taken = COMMANDS[words]._option_string_actions.keys()
    assert "--json" in taken
    assert len({"--reason", "--actor", "--dry-run"} & taken) in (0, 3)


@pytest.mark.parametrize("name", sorted({words.split()[0] for words in COMMANDS}))
def test_a_command_is_loaded_alone(name: str) -> None:
    """An operator waits for the modules of what he asked for, not for all of them."""
    assert name in MODULES
    alone = dict(commands(parser(name)))
    assert alone.keys() == {words for words in COMMANDS if words.split()[0] == name}


def test_the_commands_of_the_design_are_there() -> None:
    """Each by its name; what changes something asks who and why."""
    changing = {
        *(f"runs {action}" for action in ("pause", "resume", "cancel", "recover", "retry")),
        *(f"dead-letters {action}" for action in ("edit", "replay", "discard")),
        *("rejects replay", "limits pause", "limits resume", "locks release", "purge"),
    }
    looking = {
        *(f"runs {action}" for action in ("list", "show", "watch", "explain")),
        *("dead-letters list", "dead-letters show", "rejects export", "queues", "limits", "locks", "health", "stats"),
        *("check", "alerts list", "audit", "metrics"),
    }
    assert changing | looking <= COMMANDS.keys()
    for words in changing:
        assert "--reason" in COMMANDS[words]._option_string_actions, words


CASES = [
    (exits.OK, ("runs", "list")),
    (exits.OK, ("runs", "pause", "{run}", *WHY)),
    (exits.TROUBLE, ("runs", "resume", "{run}", *WHY)),
    (exits.TROUBLE, ("runs", "resume", "{run}", "--dry-run")),
    (exits.TROUBLE, ("runs", "recover", "--fail", "{run}", *WHY)),
    (exits.TROUBLE, ("runs", "retry", "{run}", *WHY)),
    (exits.TROUBLE, ("dead-letters", "discard", "--all", "--expect", "0", *WHY)),
    (exits.TROUBLE, ("health",)),
    (exits.USAGE, ("runs", "pause", "{run}")),
    (exits.USAGE, ("dead-letters", "replay", *WHY)),
    (exits.NOT_FOUND, ("runs", "show", NOBODY)),
    (exits.NOT_FOUND, ("runs", "pause", NOBODY, *WHY)),
    (exits.NOT_FOUND, ("dead-letters", "show", "99")),
    (exits.NOT_FOUND, ("dead-letters", "edit", "99", "--payload", "{}", *WHY)),
    (exits.NOT_FOUND, ("limits", "resume", "nobody's", *WHY)),
    (exits.NOT_FOUND, ("locks", "release", "nobody's", "--token", "12345678", "--force", *WHY)),
    (exits.NOT_FOUND, ("email", "report", "nobody's")),
    (exits.NOT_FOUND, ("rejects", "export", NOBODY)),
    (exits.NOT_FOUND, ("audit", "--run", NOBODY)),
]


@pytest.mark.parametrize(("code", "words"), CASES, ids=[f"{code} {' '.join(words)}" for code, words in CASES])
def test_exit_codes(ops: Ops, code: int, words: tuple[str, ...]) -> None:
    """Each code by an example, the same in both forms; with --json an error is a document, too, and says what is the matter."""
    letter = planned(KEYED, jobs=[{"fails": 9, "error": "permanent"}], key="poor")
    work_off(KEYED, letter)
    run_id = planned(KEYED, n=1)
    given = [word.replace("{run}", run_id) for word in words]
    ran = ops(*given, "--json")
    assert ran.code == code, ran.err
    if code in (exits.USAGE, exits.NOT_FOUND):
        assert ran.document["error"]["message"]
        assert ran.err.startswith("ops: ")
    else:
        assert json.loads(ran.out) is not None or ran.err


def test_the_servers_away_is_trouble(ops: Ops, servers: Servers) -> None:
    """Exit 1 and one line, whichever command asks."""
    servers.mariadb.kill()
    try:
        for words in (("runs", "list"), ("dead-letters", "list"), ("audit",), ("alerts", "list")):
            ran = ops(*words)
            assert (ran.code, ran.err.count("\n")) == (exits.TROUBLE, 1), ran.err
    finally:
        servers.mariadb.start()


DRY = [
    ("runs", "pause", "{run}"),
    ("runs", "cancel", "{run}"),
    ("runs", "recover", "--resume", "--force", "{run}"),
    ("runs", "recover", "--fail", "--force", "{run}"),
    ("runs", "retry", "{ended}"),
    ("dead-letters", "edit", "{letter}", "--payload", "{}"),
    ("dead-letters", "discard", "--all"),
    ("dead-letters", "replay", "--all"),
    ("limits", "pause", "k", "--for", "5"),
    ("purge",),
]


@pytest.mark.parametrize("words", DRY, ids=" ".join)
def test_a_dry_run_needs_no_reason_and_changes_nothing(ops: Ops, words: tuple[str, ...]) -> None:
    """It says what would happen; every table is as it was, the audit log included."""
    ended = planned(KEYED, jobs=[{"fails": 9, "error": "permanent"}], key="poor")
    work_off(KEYED, ended)
    run_id = planned(KEYED, n=2)
    letter = query("SELECT id FROM dead_letters")[0][0]
    before = everything()
    names = {"{run}": run_id, "{ended}": ended, "{letter}": str(letter)}
    ran = ops(*(names.get(word, word) for word in words), "--dry-run")
    assert (ran.code, "would" in ran.out) == (exits.OK, True), ran.err
    assert everything() == before


def everything() -> list[object]:
    """What an action could change."""
    return [
        query(f"SELECT * FROM {table} ORDER BY 1, 2")
        for table in ("runs", "jobs", "dead_letters", "fences", "audit_log", "job_attempts")
    ]


def test_the_documents_have_the_table() -> None:
    """docs/operations.md tells every code."""
    text = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert codes == {exits.OK, exits.TROUBLE, exits.USAGE, exits.NOT_FOUND, exits.INTERRUPTED}
