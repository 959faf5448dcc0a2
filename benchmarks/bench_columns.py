"""Many jobs. Goals: 30 million jobs a second from a column, constant memory while streaming."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ledger import PriceBook, estimate, price_frame

ROWS = 10_000_000


def jobs(rows: int, offset: int = 0) -> pl.DataFrame:
    """Motion-control jobs from 3 to 33 seconds, by a fixed pattern."""
    number = pl.int_range(offset, offset + rows, dtype=pl.Int64)
    return pl.select(
        model=pl.lit("kling-v3-motion-control"),
        quality=pl.when(number % 3 == 0).then(pl.lit("1080p")).otherwise(pl.lit("720p")),
        orientation=pl.when(number % 5 == 0).then(pl.lit("image")).otherwise(pl.lit("video")),
        seconds=(3000 + number * 7919 % 30_000) / 1000,
        count=number % 4 + 1,
        team=(number % 10).cast(pl.String),
    )


def expected_e8(rows: int) -> int:
    """The total of `jobs`, by plain integers; the pattern repeats every 60,000 rows."""
    period = 60_000
    whole, rest = divmod(rows, period)
    return whole * sum(map(_one_e8, range(period))) + sum(map(_one_e8, range(rest)))


def _one_e8(number: int) -> int:
    milliseconds = 3000 + number * 7919 % 30_000
    billed = min(-(-milliseconds // 1000), 10 if number % 5 == 0 else 30)
    price_e8 = 1_089_184_320 if number % 3 == 0 else 816_480_000
    return billed * price_e8 * (number % 4 + 1)


@pytest.fixture(scope="module")
def prices() -> PriceBook:
    return PriceBook.bundled()


@pytest.fixture(scope="module")
def texts() -> pl.DataFrame:
    return jobs(ROWS)


@pytest.fixture(scope="module")
def enums(texts: pl.DataFrame) -> pl.DataFrame:
    return texts.with_columns(
        pl.col("model").cast(pl.Enum(["kling-v3-motion-control"])),
        pl.col("quality").cast(pl.Enum(["720p", "1080p"])),
        pl.col("orientation").cast(pl.Enum(["image", "video"])),
    )


@pytest.mark.parametrize("kind", ["enums", "texts"])
def test_a_column_of_ten_million_jobs(
    benchmark: BenchmarkFixture, prices: PriceBook, request: pytest.FixtureRequest, kind: str
) -> None:
    frame: pl.DataFrame = request.getfixturevalue(kind)
    priced = price_frame(frame, prices)
    total = (priced["maximum_e8"].cast(pl.Int128) * frame["count"]).sum()
    assert total == expected_e8(ROWS)
    benchmark.extra_info["rows"] = ROWS
    benchmark.pedantic(price_frame, (frame, prices), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("by", [[], ["team"]])
def test_an_estimate_of_ten_million_jobs_in_memory(
    benchmark: BenchmarkFixture, prices: PriceBook, enums: pl.DataFrame, by: list[str]
) -> None:
    result = estimate(enums, prices, by=by)
    assert result.total.maximum_e8 == expected_e8(ROWS)
    benchmark.extra_info["rows"] = ROWS
    benchmark.pedantic(estimate, (enums, prices), {"by": by}, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_an_estimate_of_a_text_file_of_a_million_rows(
    benchmark: BenchmarkFixture, prices: PriceBook, tmp_path: Path, ending: str
) -> None:
    rows = 960_000
    path = tmp_path / f"plan.{ending}"
    frame = jobs(rows)
    if ending == "csv":
        frame.write_csv(path)
    else:
        frame.write_ndjson(path)
    assert estimate(path, prices).total.maximum_e8 == expected_e8(rows)
    benchmark.extra_info["rows"] = rows
    benchmark.pedantic(estimate, (path, prices), {"by": ["team"]}, rounds=3, warmup_rounds=1)


STREAM = """
import sys
from ledger import PriceBook, estimate
total = estimate(sys.argv[1], PriceBook.bundled(), by=["team"]).total.maximum_e8
# Not getrusage: its maximum would include the parent's memory at the moment of the fork.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(total, status["VmHWM"].split()[0])
"""


def test_an_estimate_of_a_parquet_file_larger_than_one_would_load(
    benchmark: BenchmarkFixture, tmp_path: Path, streamed_rows: int
) -> None:
    """Memory is that of a new process, and must not grow with the file."""
    pieces = tmp_path / "pieces"
    pieces.mkdir()
    for at in range(0, streamed_rows, 6_000_000):
        jobs(min(6_000_000, streamed_rows - at), at).write_parquet(pieces / f"{at:012}.parquet")
    path = tmp_path / "plan.parquet"
    pl.scan_parquet(pieces).sink_parquet(path)
    small = tmp_path / "small.parquet"
    jobs(1_200_000).write_parquet(small)

    def stream(file: Path) -> tuple[int, int]:
        command = [sys.executable, "-c", STREAM, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        total, peak_kib = map(int, done.stdout.split())
        return total, peak_kib

    total, peak_kib = stream(path)
    assert total == expected_e8(streamed_rows)
    benchmark.extra_info["rows"] = streamed_rows
    benchmark.extra_info["file_mb"] = round(path.stat().st_size / 1e6)
    benchmark.extra_info["peak_mib"] = peak_kib // 1024
    benchmark.extra_info["peak_mib_of_1.2_million_rows"] = stream(small)[1] // 1024
    benchmark.pedantic(stream, (path,), rounds=1)
