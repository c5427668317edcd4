"""A product file for benchmarks, the same for the same number of rows, and the table that it goes into."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

TABLE = "bench_products"
COLUMNS = "sku,name,description,category,price,weight,stock,active,released,updated_at,supplier_id,ean"
CREATE_TABLE = f"""
CREATE TABLE {TABLE} (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, sku VARCHAR(32) NOT NULL, name VARCHAR(100) NOT NULL, description TEXT,
    category VARCHAR(40), price DECIMAL(10,2) NOT NULL, weight DECIMAL(8,3), stock INT NOT NULL, active TINYINT(1) NOT NULL,
    released DATE, updated_at DATETIME, supplier_id INT, ean BIGINT, UNIQUE KEY uq_sku (sku)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
"""
_WORDS = (
    "alpine", "basic", "canvas", "denim", "ember", "flint", "grain", "harbor", "indigo", "jade",
    "kelp", "linen", "maple", "nordic", "ochre", "pine", "quartz", "rustic", "silk", "tidal",
    "umber", "velvet", "willow", "yarrow", "zephyr", "Köln", "Größe", "café",
)  # fmt: skip
_CATEGORIES = ("Home & Garden", "Apparel", "Jewelry", "Toys", "Books", "Music", "Sport", "Office")
_FIRST = datetime(2020, 1, 1)


def write_file(path: Path, rows: int) -> None:
    """About 175 bytes a row: a fifth of the rows with commas in quotes, some with quotes, line ends and accents."""
    pick = random.Random(7)
    with path.open("w", encoding="utf-8", newline="") as out:
        out.write(COLUMNS + "\n")
        for start in range(0, rows, 10_000):
            out.writelines(_row(pick, n) for n in range(start, min(start + 10_000, rows)))


def _row(pick: random.Random, n: int) -> str:
    description = " ".join(pick.choices(_WORDS, k=9))
    if n % 5 == 0:
        description = f'"{description.replace(" ", ", ", 3)}"'
    elif n % 101 == 0:
        description = f'"the ""{_WORDS[n % 25]}"" one,\n{description}"'
    day = _FIRST + timedelta(seconds=pick.randrange(150_000_000))
    return (
        f"SKU-{n:010d},{' '.join(pick.choices(_WORDS, k=3)).title()},{description},{_CATEGORIES[n % 8]},"
        f"{pick.randrange(1, 99_999) / 100:.2f},{pick.randrange(20_000) / 1000:.3f},{pick.randrange(5000)},{n % 2},"
        f"{day.date()},{day},{pick.randrange(1, 5000)},{pick.randrange(10**12, 10**13)}\n"
    )
