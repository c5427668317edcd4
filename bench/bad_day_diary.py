"""What the operator sees, decides and does, with the seconds since the trouble began: printed, and kept as Markdown."""

from __future__ import annotations

import time
from pathlib import Path

WIDEST = 170


class Diary:
    """One operator's day.  ``out``: the directory for its text and its pictures, if it is to be kept."""

    def __init__(self, by: str, out: Path | None) -> None:
        self.by = by
        self.out = out
        self.began = time.monotonic()
        self.lines: list[str] = []
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)

    def step(self, title: str) -> None:
        """What the next entries are about."""
        self._write(f"\n### {title}, {time.monotonic() - self.began:.0f} s\n")

    def does(self, act: str) -> None:
        """What he types or clicks."""
        self._write(f"    > {act}")

    def sees(self, text: str, *, most: int = 14) -> None:
        """What he is shown."""
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        for line in lines[:most]:
            self._write(f"    {line if len(line) <= WIDEST else line[: WIDEST - 1] + '…'}")
        if len(lines) > most:
            self._write(f"    … {len(lines) - most} more lines")

    def decides(self, sentence: str) -> None:
        """What he makes of it, and why."""
        self._write(f"\n{sentence}\n")

    def picture(self, name: str) -> Path | None:
        """Where a screenshot goes."""
        return None if self.out is None else self.out / f"{self.by}-{name}.png"

    def close(self) -> None:
        """Write it down."""
        if self.out is not None:
            (self.out / f"{self.by}.md").write_text("\n".join(self.lines) + "\n", encoding="utf-8")

    def _write(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)
