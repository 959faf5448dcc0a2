"""A whole month held against its bill: `python benchmarks/month.py [JOBS] [URL]`.

Makes a book of that many charged jobs and the statement of them, plants a difference in every
thousandth line, and prints how long the comparison takes and what it needs at most. The answer is
checked before any time counts. Run it on an otherwise idle machine. A database of a server needs
`kling-ledger db upgrade` before.
"""

from __future__ import annotations

import csv
import resource
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from ledger import Ledger, MotionControl, PriceBook
from ledger.book import Charge, Reserve
from ledger.reconcile import reconcile_book

STARTED = datetime(2026, 10, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 2, tzinfo=UTC)
PLANTED = 1_000
"""Every so many lines are billed by the nearest second instead of the next one."""


def jobs(count: int) -> Iterator[tuple[str, datetime]]:
    step = timedelta(days=30) / count
    for number in range(count):
        yield f"job-{number:08d}", STARTED + number * step


def opened(url: str, count: int) -> Ledger:
    return Ledger(url, book=f"month-{count}", clock=lambda: NOW)


def fill(url: str, count: int) -> None:
    """Jobs of 5.4 s in 720p: 6 × 8.1648 = 48.9888 credits each."""
    with opened(url, count) as ledger:
        _fill(ledger, count)


def _fill(ledger: Ledger, count: int) -> None:
    asked = MotionControl(quality="720p", character_orientation="video", reference_seconds="10")
    quote = PriceBook.bundled().quote(asked, at=STARTED)
    ledger.top_up("studio", 100 * count, key="invoice-1", at=STARTED)
    left = jobs(count)
    while part := list(islice(left, 2_000)):
        items: list[Any] = [Reserve("studio", quote, job, at=at) for job, at in part]
        items += [Charge(job, seconds="5.4", at=at) for job, at in part]
        ledger.batch(items, atomic=True)


def write(path: Path, count: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["Idempotency key", "Model", "Credits used", "Quality", "Completed at"])
        for number, (job, at) in enumerate(jobs(count)):
            amount = "40.824" if number % PLANTED == 0 else "48.9888"
            lines.writerow([job, "kling-v3-motion-control", amount, "720p", at.isoformat()])


def main(count: int, url: str | None) -> None:

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "october.csv"
        write(path, count)
        url = url or f"sqlite:///{folder}/month.db"
        started = perf_counter()
        # In a process of its own, so that its memory is not counted here.
        filling = get_context("spawn").Process(target=fill, args=(url, count))
        filling.start()
        filling.join()
        if filling.exitcode:
            sys.exit("the book could not be filled; the reason is above")
        print(
            f"{count:,} jobs reserved and charged in {perf_counter() - started:.1f} s", flush=True
        )
        with opened(url, count) as ledger:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            started, used = perf_counter(), process_time()
            held = reconcile_book(ledger, path, since="2026-10-01", until="2026-11-01")
            took, used = perf_counter() - started, process_time() - used
            causes = [item.sentence for item in held.result.causes]
            planted = -(-count // PLANTED)
            assert len(held.breaks) == planted, len(held.breaks)
            assert {item.cause for item in held.breaks} == {"rounding to nearest"}
            assert held.result.totals.jobs_matched == count
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"reconciled in {took:.1f} s, {used:.1f} s of processor time here", end="; ")
            print(f"peak {peak:,} MiB ({before:,} before); {causes[0]}")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000,
        sys.argv[2] if len(sys.argv) > 2 else None,
    )
