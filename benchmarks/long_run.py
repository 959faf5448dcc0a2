"""A reserve beside ten million holds: run it by itself; it takes long, and 8 GB of disk.

    python benchmarks/long_run.py [HOLDS] [URL]

Prints, on the way, the median of 500 durable reserves and the size of the database.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from ledger.book import Book, Reserve

STEP = 20_000
SHOWN = {0, 100_000, 1_000_000, 3_000_000, 10_000_000}
LABELS = {"team": "ads", "user": "li"}


def reserve_seconds(book: Book, holds: int) -> float:
    waits = []
    for number in range(500):
        started = perf_counter()
        book.reserve("studio", "141.5939616", key=f"single-{holds}-{number}", labels=LABELS)
        waits.append(perf_counter() - started)
    return median(waits)


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        url = sys.argv[2] if len(sys.argv) > 2 else f"sqlite:///{path}"
        with Book(url) as book:
            book.top_up("studio", 50_000_000_000, key="invoice-1")
            for holds in range(0, most + 1, STEP):
                if holds in SHOWN:
                    size = path.stat().st_size / 2**20 if path.exists() else 0
                    wait = reserve_seconds(book, holds) * 1e6
                    print(f"{holds:>12,} holds  {wait:6.0f} µs  {size:8,.0f} MiB", flush=True)
                book.reserve_many(
                    [
                        Reserve("studio", "141.5939616", f"job-{number}", LABELS)
                        for number in range(holds, holds + STEP)
                    ]
                )


if __name__ == "__main__":
    main()
