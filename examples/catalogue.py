"""A made-up product catalogue as a CSV file, the same for the same seed, with a dozen bad rows on purpose.

``python -m examples.catalogue FILE [--rows N] [--seed S]`` writes one; `TABLE` is the table that it goes into.
"""

from __future__ import annotations

import argparse
import csv
import filecmp
import io
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

TABLE = "demo_products"
KEY = ["sku"]
ROWS = 30_000
SEED = 7

CATEGORIES = ("kitchen", "tools", "garden", "toys", "books", "music")
CREATE_TABLE = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    sku         VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name        VARCHAR(120) NOT NULL,
    description TEXT,
    category    ENUM({", ".join(f"'{category}'" for category in CATEGORIES)}) NOT NULL,
    price       DECIMAL(10,2) NOT NULL,
    stock       INT UNSIGNED NOT NULL DEFAULT 0,
    weight_kg   DECIMAL(8,3),
    released_on DATE,
    updated_at  DATETIME NOT NULL,
    UNIQUE KEY uq_demo_products_sku (sku)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
"""

_THINGS = (
    "Kaffeemühle", "Crème-brûlée-Brenner", "Teapot", "急須", "木のおもちゃ", "Жестяная коробка", "Smörgåsbord-Set",
    "Gitarrensaite", "Rosenschere", "Hammer", "Λεξικό", "Piñata", "拼图", "Wanduhr", "Socks 🧦", "Rubber duck 🦆",
)  # fmt: skip
_QUALITIES = ("grün", "small", "extra large", '24"', '"Deluxe"', '3/4"', "handmade, signed", "für Anfänger", "2.0")
_SENTENCES = (
    "Made of beech, oiled.",
    "Größe: 30 × 20 × 10 cm",
    "Cleans itself; mostly.",
    'They said: "the best one yet".',
    "お手入れ簡単。",
    "Not for children under 3 years, nor for cats 🐈.",
    "Ersatzteile, falls nötig, auf Anfrage.",
)
_FIRST_DAY = date(2015, 1, 1)
_FIRST_MOMENT = datetime(2026, 1, 1)  # noqa: DTZ001 - the file holds naive UTC, as its column does


@dataclass(frozen=True, slots=True)
class Product:
    """One row, its values as the texts that stand in the file, in the order of its header."""

    sku: str
    name: str
    description: str
    category: str
    price: str
    stock: str
    weight_kg: str
    released_on: str
    updated_at: str


HEADER = tuple(Product.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that must be rejected: ``code`` is the reject's, ``text`` the line as it stands in the file."""

    code: str
    text: str


def bad_rows() -> list[BadRow]:
    """One of each kind of trouble that files from the field are full of."""
    good = Product(
        sku="HF-BAD",
        name="Lamp",
        description="",
        category="tools",
        price="9.90",
        stock="1",
        weight_kg="0.5",
        released_on="2024-02-29",
        updated_at="2026-01-01 00:00:00",
    )
    as_text = _text(good)
    return [
        BadRow("not_a_number", _text(replace(good, price="on request"))),
        BadRow("too_long", _text(replace(good, name="Lamp " * 25))),
        BadRow("null", _text(replace(good, sku=""))),
        BadRow("ragged", as_text.replace("Lamp", "Lamp, red")),
        BadRow("ragged", as_text.rpartition(",")[0] + "\n"),
        BadRow("not_a_date", _text(replace(good, released_on="2026-02-30"))),
        BadRow("too_precise", _text(replace(good, price="9.999"))),
        BadRow("out_of_range", _text(replace(good, stock="-1"))),
        BadRow("not_an_integer", _text(replace(good, stock="many"))),
        BadRow("not_a_member", _text(replace(good, category="gardn"))),
        BadRow("nul_byte", _text(replace(good, name="La\0mp"))),
        BadRow("malformed", as_text.replace("Lamp", '"Lamp"shade')),
    ]


def lines(rows: int = ROWS, seed: int = SEED) -> Iterator[str]:
    """The file's text, record by record: the header, ``rows`` good rows, and the bad ones spread among them."""
    chance = random.Random(seed)
    yield _line(HEADER)
    bad = bad_rows()
    every = max(1, rows // (len(bad) + 1))
    for number in range(rows):
        yield _text(_product(number, chance))
        if (number + 1) % every == 0 and bad:
            yield bad.pop(0).text
    yield from (late.text for late in bad)


def write_catalogue(path: Path, *, rows: int = ROWS, seed: int = SEED) -> bool:
    """Write the file, or leave it alone if it is there already with just this content; True if it was written.

    An import pins its file, so a file that is being imported must not be touched without need; and whoever reads it never
    sees half of it.  Raises `OSError`.
    """
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        new = Path(file.name)
        try:
            file.writelines(lines(rows, seed))
            file.flush()
            if path.is_file() and filecmp.cmp(path, new, shallow=False):
                new.unlink()
                return False
            # Readable for workers that run as another user; a temporary file is not.
            new.chmod(0o644)
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    return True


def _product(number: int, chance: random.Random) -> Product:
    description = ""
    if chance.random() < 0.7:
        # A line break within a cell is what breaks importers that cut files at line ends.
        description = chance.choice((" ", "\n", "\r\n")).join(chance.sample(_SENTENCES, chance.randint(1, 3)))
    return Product(
        sku=f"HF-{number:07d}",
        name=f"{chance.choice(_THINGS)}, {chance.choice(_QUALITIES)}",
        description=description,
        category=chance.choice(CATEGORIES),
        price=f"{chance.randint(1, 99_999)}.{chance.randint(0, 99):02d}",
        stock=str(chance.randint(0, 5_000)),
        weight_kg="" if chance.random() < 0.2 else f"{chance.uniform(0.01, 50):.3f}",
        released_on="" if chance.random() < 0.1 else str(_FIRST_DAY + timedelta(days=chance.randint(0, 4_000))),
        updated_at=str(_FIRST_MOMENT + timedelta(seconds=chance.randint(0, 25_000_000))),
    )


def _text(product: Product) -> str:
    return _line([getattr(product, name) for name in HEADER])


def _line(fields: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.catalogue", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"good rows (default {ROWS})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"another seed, other products (default {SEED})")
    chosen = parser.parse_args()
    write_catalogue(chosen.file, rows=chosen.rows, seed=chosen.seed)


if __name__ == "__main__":
    main()
