"""The sample file of the demo."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from examples.catalogue import HEADER, bad_rows, lines, write_catalogue

ROWS = 500


def test_same_seed_gives_the_same_file_and_another_seed_another() -> None:
    """Whoever makes the file, wherever, makes the same one."""
    assert list(lines(ROWS, seed=1)) == list(lines(ROWS, seed=1))
    assert list(lines(ROWS, seed=1)) != list(lines(ROWS, seed=2))


def test_the_file_holds_what_breaks_importers() -> None:
    """Quotes, commas and line breaks within cells, and characters of one to four bytes, are all in it."""
    good = [line for line in lines(ROWS) if "HF-BAD" not in line and "\0" not in line]
    rows = list(csv.reader(io.StringIO("".join(good), newline=""), strict=True))[1:]
    cells = [cell for row in rows for cell in row]
    for mark in ('"', ",", "\n", "\r\n", "ü", "急", "🦆"):
        assert any(mark in cell for cell in cells), mark
    assert any(row[2] == "" for row in rows), "an empty description, which is NULL"


def test_good_rows_are_whole_and_have_keys_of_their_own() -> None:
    """Every good row has all columns and a key that no other has."""
    bad = {row.text for row in bad_rows()}
    text = "".join(line for line in lines(ROWS) if line not in bad)
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert rows[0] == list(HEADER)
    assert {len(row) for row in rows} == {len(HEADER)}
    assert len({row[0] for row in rows[1:]}) == ROWS


def test_bad_rows_are_lines_of_their_own_spread_over_the_file() -> None:
    """No bad row swallows its neighbour, and the last quarter of the file has some too."""
    written = list(lines(ROWS))
    places = [place for place, line in enumerate(written) if line in {row.text for row in bad_rows()}]
    assert len(places) == len(bad_rows()) == len(written) - 1 - ROWS
    assert all(written[place].endswith("\n") and written[place].count("\n") == 1 for place in places)
    assert places[0] < ROWS / 4 and places[-1] > ROWS * 3 / 4


def test_a_file_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    """Writing the same catalogue again does not touch the file, which an import may be reading; another one replaces it."""
    path = tmp_path / "catalogue.csv"
    assert write_catalogue(path, rows=ROWS)
    before = path.stat()
    assert not write_catalogue(path, rows=ROWS)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert write_catalogue(path, rows=ROWS + 1)
    assert [file.name for file in tmp_path.iterdir()] == ["catalogue.csv"]
