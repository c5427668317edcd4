"""The tables of the documentation that come from the code; ``python -m tests.docs_tables`` writes them anew."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

from runstate import statuses
from stack.pools import POOLS, pool_numbers
from tasks.images.errors import CODES
from tests.documents import DOCUMENTS

_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(document: str) -> str:
    """The document with every generated block as the code has it now; raises KeyError for a block of no known name."""
    return _BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]]()}{block[3]}", document)


def pools() -> str:
    words = ("PROCESSES", "CONCURRENCY", "MAX_TASKS", "MAX_MEMORY_KB")
    numbers = pool_numbers({})
    rows = []
    for pool in POOLS:
        names = [f"HOLDFAST_{pool.queue.upper()}_{word}" for word in words]
        rows.append([f"`{pool.queue}`", *(f"`{name}` {numbers[name]}" for name in names)])
    return _table(["queue", "processes", "children of each", "messages per child", "memory per child, KiB"], rows)


def numbers() -> str:
    pool_words = tuple(f"HOLDFAST_{pool.queue.upper()}_" for pool in POOLS)
    rows = [[f"`{name}`", value] for name, value in pool_numbers({}).items() if not name.startswith(pool_words)]
    return _table(["variable", "default"], rows)


def run_statuses() -> str:
    return _values(statuses.RunStatus)


def job_states() -> str:
    return _values(statuses.JobState)


def run_transitions() -> str:
    return _transitions(statuses.RUN_TRANSITIONS)


def job_transitions() -> str:
    return _transitions(statuses.JOB_TRANSITIONS)


def image_codes() -> str:
    rows = [[f"`{code}`", verdict, meaning] for code, (verdict, meaning) in CODES.items()]
    return _table(["code", "verdict", "meaning"], rows)


def _values(words: type[StrEnum]) -> str:
    sentences = _sentences(words.__name__)
    return _table(["", ""], [[f"`{word.value}`", sentences[word.name]] for word in words])


def _sentences(class_name: str) -> dict[str, str]:
    """The text behind each member, which Python itself does not keep."""
    tree = ast.parse(Path(statuses.__file__).read_text(encoding="utf-8"))
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name]
    found = {}
    for member, said in pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(said, ast.Expr) and isinstance(said.value, ast.Constant):
            assert isinstance(member.targets[0], ast.Name)
            found[member.targets[0].id] = str(said.value.value).replace("``", "`")
    return found


def _transitions(edges: Mapping[Any, str]) -> str:
    rows = [[f"`{old.value}` → `{new.value}`", sentence.replace("``", "`")] for (old, new), sentence in edges.items()]
    return _table(["from → to", "when"], rows)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


TABLES: dict[str, Callable[[], str]] = {
    "pools": pools,
    "numbers": numbers,
    "run-statuses": run_statuses,
    "run-transitions": run_transitions,
    "job-states": job_states,
    "job-transitions": job_transitions,
    "image-codes": image_codes,
}


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(filled(document.read_text(encoding="utf-8")), encoding="utf-8")
