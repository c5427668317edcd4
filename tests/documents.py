"""What the documents hold that can be run: their fenced blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENTS = (PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md")))
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: ``language`` as behind the fence, ``line`` where its text begins."""

    document: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(PROJECT)}:{self.line}"


def blocks(language: str, *documents: Path) -> list[Block]:
    """Every block in this language, of these documents or of all."""
    return [
        Block(document, text.count("\n", 0, found.start()) + 2, found[1], found[2])
        for document in documents or DOCUMENTS
        for text in [document.read_text(encoding="utf-8")]
        for found in _FENCED.finditer(text)
        if found[1] == language
    ]
