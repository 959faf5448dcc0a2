"""The columnar form and the scalar form are one function: they agree on every row."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ledger import PriceBook, estimate, price_frame
from ledger.errors import CannotPrice, InvalidInput
from ledger.units import parse_seconds

Amounts = tuple[int, int, int] | None
Row = Mapping[str, Any]

LAW = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SHORT_LAW = settings(LAW, max_examples=120)

# 10.8918432 × 0.93 = 10.129414176 has nine decimals, so a step is no whole number of e8.
OVERLAY = """
name = "odd"
[[overlay]]
model = "kling-*"
source = "a contract"
checked = 2026-06-01
discount = 0.07
[[overlay]]
model = "happyhorse-*"
source = "a contract"
checked = 2026-06-01
effective_from = 2026-06-01T00:00:00Z
rate = 7.77777777
smallest_charge = 33.3
"""

# Up, down and to the nearest; by the call; in steps; to the exact length; with rounded charges.
OWN = """
model = "own-{name}"
body = "{body}"
defaults = {{ quality = "720p" }}
{limits}
[[price]]
effective_from = 2026-01-01T00:00:00Z
source = "ours"
checked = 2026-06-01
unit = "{unit}"
rate = {rate}
{more}
{multiplier}
[[price.channel]]
name = "backup"
rate = 1.23456789
[[price.channel]]
name = "spare"
rate = 0.5
"""
MULTIPLIER = """
[[price.multiplier]]
options = ["quality"]
table = { "720p" = 1, "1080p" = 1.333333 }
"""
LIMITS = """
[limits]
source = "ours"
checked = 2026-06-01
[limits.clip]
formats = ["mp4"]
shortest_seconds = 2.5
longest_seconds = 7.5
"""
OWN_FILES: Mapping[str, Mapping[str, str]] = {
    "up": {"body": "motion_control", "rate": "0.33333333", "limits": LIMITS},
    "down": {"body": "video_edit", "rate": "2", "more": 'rounding = { mode = "floor" }'},
    "nearest": {
        "body": "video_edit",
        "rate": "0.7",
        "more": 'rounding = { mode = "half_up" }\nshortest_seconds = 2\nlongest_seconds = 9',
    },
    "steps": {
        "body": "motion_control",
        "rate": "1.1",
        "more": 'rounding = { mode = "ceil", step_seconds = 0.7 }\nlongest_seconds = 21',
    },
    "exact": {
        "body": "video_edit",
        "rate": "0.12345678",
        "more": 'rounding = { mode = "none" }\nsmallest_charge = 0.5',
    },
    "rounded": {
        "body": "text_to_video",
        "rate": "1.11111111",
        "more": 'charge = { quantum = 0.07, mode = "ceil" }\nsettles_on = "requested"',
    },
    "quantum": {
        "body": "text_to_video",
        "rate": "1.11111111",
        "more": 'charge = { quantum = 0.07 }\nsettles_on = "requested"',
    },
    "smallest": {"body": "video_edit", "rate": "0.5", "more": "smallest_charge = 5.55"},
    "handed": {
        "body": "motion_control",
        "rate": "1.1",
        "limits": LIMITS,
        "more": 'rounding = { mode = "ceil" }\nsettles_on = "requested"\nlongest_seconds = 6',
    },
    "call": {"body": "custom_element", "rate": "0.00000001", "unit": "call", "multiplier": ""},
    "large": {"body": "video_edit", "rate": "999999.99999999"},
}


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, PriceBook]:
    folder = tmp_path_factory.mktemp("prices")
    odd = folder / "odd.toml"
    odd.write_text(OVERLAY, encoding="utf-8")
    own = []
    for name, given_ in OWN_FILES.items():
        defaults = {"name": name, "unit": "second", "limits": "", "more": ""}
        filled = OWN.format(**{"multiplier": MULTIPLIER, **defaults, **given_})
        own.append(folder / f"{name}.toml")
        own[-1].write_text(filled, encoding="utf-8")
    return {
        "evolink": PriceBook.bundled(),
        "evolink-rules": PriceBook.bundled("evolink-rules"),
        "evolink-panel": PriceBook.bundled("evolink-panel"),
        "odd": PriceBook.bundled(overlays=[odd]),
        "odd rules": PriceBook.bundled("evolink-rules", overlays=[odd]),
        "own": PriceBook.bundled(overlays=own),
    }


MODELS = (
    *(model for model in PriceBook.bundled().models),
    "motion-control",
    "motion-control",
    "o3-video-edit",
    "v3-text-to-video",
)
OWN_MODELS = tuple(f"own-{name}" for name in OWN_FILES)
WRONG_MODELS = ("kling-v9", "", None, " motion-control", "MOTION-CONTROL")
OPTIONS = {
    "quality": ("720p", "1080p", "4k", "", None, "1080P", "8k"),
    "character_orientation": ("image", "video", "video", "", None, "sideways"),
    "sound": ("on", "off", "", None, "loud"),
}
MOMENTS = (
    "2025-09-01",
    "2026-02-28T23:59:59.999999Z",  # the last moment before the first price
    "2026-03-01",
    "2026-04-21T15:00:36.113999Z",  # the rules' motion control starts at .114
    "2026-04-21T15:00:36.114Z",
    "2026-04-21T15:00:51.050Z",  # the published rules of text to video start
    "2026-05-31T23:59:59Z",
    "2026-06-01",  # an overlay starts
    "2026-10-03T21:22:05.963Z",  # the rules' custom element starts
    "2026-10-08T20:40:06.503999Z",
    "2026-10-08T20:40:06.504Z",  # the second price of HappyHorse starts
    "2026-10-10",
    "2030-01-01",
)

# Lengths at, just below and just above each whole and each half second that decides something.
_AT = [place / 2 for place in range(64)] + [999_999.0, 999_999.5, 1e6]
FLOATS = (
    *_AT,
    *(math.nextafter(at, math.inf) for at in _AT),
    *(math.nextafter(at, -math.inf) for at in _AT),
    *(12.4, 9.2, 0.1 + 0.2, 0.49999999999999994, 2.1, 59.94, 1e6 + 1, 1e300, 1e19),
    *(-0.0, -1.0, 5e-324, -5e-324, 1e-31, 1e-7, math.nan, math.inf, -math.inf),
)
SPELLINGS = (
    *("1e3", " 5", "5 ", "5.", ".5", "+5", "-5", "-0", "nan", "NaN", "inf", "Infinity", ""),
    *("13.0000000000000001", "12.99999999999999999999", "5.5000000000000000001"),
    *("0.49999999999999994", "5.4999999999999999999", "5.50", "5.500000000000000000", "005"),
    *("3.0000000000000000000", "2.9999999999999999999", "30.00000000000000000001", "1e-3"),
    *("0.00000000000000000001", "0.00000000000000000000", "1000000", "1000000.0000000001"),
    *("999999.99999999999999999999", "99999999999999999999", "100000000000000000000", "1_0"),
    *("12,4", "0x10", "１３", "١٣", "5\n", "\n5", "5\x00", "12.4s", "0:12", "None", "true", "."),
    *("000000000000000000012.4", "00000000000000000012.4", "1" * 25, "3.1" + "0" * 25),
)


def _nudged(whole: int, zeros: int, *, below: bool) -> str:
    """A whole number of seconds, missed by a hair: 13.0…01 or 12.9…9."""
    digits = "9" * zeros if below else "0" * (zeros - 1) + "1"
    return f"{whole}.{digits}"


floats = st.sampled_from(FLOATS) | st.floats(0, 40) | st.floats()
texts = (
    st.sampled_from(SPELLINGS)
    | floats.map(repr)
    | floats.map(lambda number: f"{number:.19f}")
    | st.decimals(0, 40, places=3).map(str)
    | st.builds(_nudged, st.integers(0, 31), st.integers(10, 21), below=st.booleans())
    | st.text("0123456789.", max_size=22)
    | st.text("0159.e+- ", max_size=5)
)


@dataclass(frozen=True)
class Kind:
    """A type that a column of lengths may have, and values of it."""

    dtype: pl.DataType
    values: st.SearchStrategy[Any]


def _decimal(scale: int) -> Kind:
    near = st.sampled_from([Decimal(place).scaleb(-1) for place in range(-5, 320, 5)])
    hairs = st.integers(-2, 2).map(lambda units: Decimal(units).scaleb(-scale))
    edges = st.builds(Decimal.__add__, near.map(lambda value: round(value, scale)), hairs)
    return Kind(
        pl.Decimal(38, scale),
        edges
        | st.decimals(-1, 40, places=scale)
        | st.just(Decimal(1_000_000))
        | st.just(Decimal(1_000_001)),
    )


def _duration(unit: Any, resolution: timedelta) -> Kind:
    half = timedelta(milliseconds=500)
    edges = st.builds(
        lambda halves, ticks: halves * half + ticks * resolution,
        st.integers(-1, 64),
        st.integers(-2, 2),
    )
    far = st.sampled_from([timedelta(seconds=1_000_000), timedelta(days=4000)])
    return Kind(pl.Duration(unit), edges | far)


KINDS: Mapping[str, Kind] = {
    "Float64": Kind(pl.Float64(), floats),
    "Float32": Kind(pl.Float32(), st.sampled_from(FLOATS) | st.floats(0, 40, width=32)),
    "Int64": Kind(pl.Int64(), st.integers(-2, 40) | st.sampled_from([10**6, 10**6 + 1, 2**63 - 1])),
    "UInt8": Kind(pl.UInt8(), st.integers(0, 255)),
    "UInt64": Kind(pl.UInt64(), st.integers(0, 40) | st.sampled_from([2**64 - 1])),
    "Decimal 0": _decimal(0),
    "Decimal 1": _decimal(1),
    "Decimal 8": _decimal(8),
    "Decimal 9": _decimal(9),
    "Decimal 20": _decimal(20),
    "Duration ms": _duration("ms", timedelta(milliseconds=1)),
    "Duration us": _duration("us", timedelta(microseconds=1)),
    "Duration ns": _duration("ns", timedelta(microseconds=1)),
    "String": Kind(pl.String(), texts),
}


def _option_column(name: str, values: list[str | None], form: str) -> pl.Series:
    kinds: Mapping[str, Any] = {
        "String": pl.String,
        "Categorical": pl.Categorical,
        "Enum": pl.Enum(sorted({value for value in values if value is not None} | {"never"})),
    }
    return pl.Series(name, values, dtype=kinds[form])


@st.composite
def frames(draw: st.DrawFn, models: tuple[str, ...] = MODELS) -> pl.DataFrame:
    """Jobs, most of them sound; every column but the model may be missing."""
    height = draw(st.integers(1, 20))

    def column(name: str, values: st.SearchStrategy[Any]) -> pl.Series:
        form = draw(st.sampled_from(["String", "String", "Categorical", "Enum"]))
        return _option_column(name, draw(_list(values, height)), form)

    some = st.sampled_from(draw(st.lists(st.sampled_from(models), min_size=1, max_size=4)))
    columns = [column("model", some | some | some | st.sampled_from(WRONG_MODELS))]
    for name, values in OPTIONS.items():
        if draw(st.booleans()):
            right = st.sampled_from(values[:2])
            columns.append(column(name, right | right | right | st.sampled_from(values)))
    kind = draw(st.sampled_from([*KINDS.values(), KINDS["String"], KINDS["Float64"], None, None]))
    if kind is not None:
        lengths = draw(_list(kind.values | st.none(), height))
        columns.append(pl.Series("seconds", lengths, dtype=kind.dtype, strict=False))
    elif draw(st.booleans()):
        columns.append(pl.Series("seconds", [None] * height, dtype=pl.Null))
    return pl.DataFrame(columns)


def _list(values: st.SearchStrategy[Any], height: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, min_size=height, max_size=height)


def scalar(
    book: PriceBook, row: Row, *, at: str, channel: str = "preferred", guess: str | None = None
) -> Amounts:
    """What the scalar function says of a row; None where it refuses."""
    length = row.get("seconds")
    model = row["model"]
    if not model:
        return None
    try:
        job = book.job(
            model,
            quality=row.get("quality") or None,
            character_orientation=row.get("character_orientation") or None,
            sound=row.get("sound") or None,
            seconds=None if length == "" else length,
        )
        if guess is not None:
            job = job.model_copy(update={"expected_seconds": parse_seconds(guess)})
        quote = book.quote(job, at=at, channel=channel)
    except (CannotPrice, InvalidInput):
        return None
    return (
        quote.minimum_charge.credits_e8,
        quote.expected_charge.credits_e8,
        quote.maximum_charge.credits_e8,
    )


def assert_same(
    frame: pl.DataFrame,
    book: PriceBook,
    *,
    at: str,
    channel: str = "preferred",
    guess: str | None = None,
) -> None:
    priced = price_frame(frame, book, at=at, channel=channel, expected_seconds=guess)
    assert priced.drop("minimum_e8", "expected_e8", "maximum_e8", "not_priced").equals(frame)
    for row in priced.to_dicts():
        wanted = scalar(book, row, at=at, channel=channel, guess=guess)
        amounts = row["minimum_e8"], row["expected_e8"], row["maximum_e8"]
        assert amounts == (wanted or (None, None, None)), row
        assert (row["not_priced"] is None) == (wanted is not None), row
        assert row["not_priced"] != "", row


BUNDLED = ("evolink", "evolink-rules", "evolink-panel", "odd", "odd rules")


@LAW
@given(frame=frames(), name=st.sampled_from(BUNDLED), at=st.sampled_from(MOMENTS))
def test_a_frame_is_priced_row_by_row_as_the_scalar_function_prices_it(
    books: Mapping[str, PriceBook], frame: pl.DataFrame, name: str, at: str
) -> None:
    assert_same(frame, books[name], at=at)


@SHORT_LAW
@given(frame=frames(OWN_MODELS), channel=st.sampled_from(["preferred", "dearest", "backup"]))
def test_every_kind_of_price_in_every_channel_agrees_with_the_scalar_function(
    books: Mapping[str, PriceBook], frame: pl.DataFrame, channel: str
) -> None:
    assert_same(frame, books["own"], at="2026-10-10", channel=channel)


@SHORT_LAW
@given(
    frame=frames(),
    name=st.sampled_from(BUNDLED),
    guess=st.sampled_from(["0.5", "3", "9.2", "9.5", "10.00000001", "30", "1000000"]),
)
def test_a_guess_of_the_length_moves_only_the_expected_amount_as_in_the_scalar_function(
    books: Mapping[str, PriceBook], frame: pl.DataFrame, name: str, guess: str
) -> None:
    assert_same(frame, books[name], at="2026-10-10", guess=guess)


# Every length of the lists above, against every way of rounding: nothing left to chance.
@pytest.mark.parametrize("kind", ["Float64", "Float32", "String", "Decimal 8", "Decimal 20"])
@pytest.mark.parametrize("name", ["evolink", "evolink-rules", "odd", "own"])
def test_all_lengths_at_the_edges_agree_with_the_scalar_function(
    books: Mapping[str, PriceBook], name: str, kind: str
) -> None:
    lengths: list[Any] = list(FLOATS)
    if kind == "String":
        hairs = [
            _nudged(whole, zeros, below=below)
            for whole in range(32)
            for zeros in (10, 15, 16, 20)
            for below in (False, True)
        ]
        lengths = [*map(repr, FLOATS), *SPELLINGS, *hairs]
    if kind.startswith("Decimal"):
        hair = Decimal(1).scaleb(-int(kind.split()[1]))
        halves = [Decimal(place) / 2 for place in range(64)]
        lengths = [half + side * hair for half in halves for side in (-1, 0, 1)]
    models = OWN_MODELS if name == "own" else tuple(dict.fromkeys(MODELS))
    jobs = pl.DataFrame({"model": models}).with_columns(
        pl.when(pl.col("model").str.contains("motion|up|steps|handed"))
        .then(pl.lit("image"))
        .alias("character_orientation")
    )
    seconds = pl.DataFrame({"seconds": pl.Series(lengths, dtype=KINDS[kind].dtype, strict=False)})
    both = pl.DataFrame({"quality": ["720p", "1080p"]})
    plan = jobs.join(both, how="cross").join(seconds, how="cross")
    assert_same(plan, books[name], at="2026-10-10")


# A limit of a clip need not be a whole or half second, and a float may step over any other:
# 7.3000000000000000001 is more than 7.3, but the same float; 2.0999… is less than 2.1.
@pytest.mark.parametrize(
    "seconds", ["2.1", "2.0999999999999999999", "7.3", "7.3000000000000000001"]
)
def test_a_limit_of_a_clip_that_is_no_half_second_is_kept_to_the_last_digit(
    tmp_path: Path, seconds: str
) -> None:
    limits = LIMITS.replace("2.5", "2.1").replace("7.5", "7.3")
    options = {"name": "limits", "unit": "second", "more": "", "multiplier": MULTIPLIER}
    path = tmp_path / "limits.toml"
    path.write_text(OWN.format(body="motion_control", rate="1", limits=limits, **options))
    frame = pl.DataFrame(
        {"model": ["own-limits"], "character_orientation": ["video"], "seconds": [seconds]}
    )
    assert_same(frame, PriceBook.bundled(overlays=[path]), at="2026-10-10")


COUNTS: Mapping[str, tuple[pl.DataType, st.SearchStrategy[Any]]] = {
    "Int64": (pl.Int64(), st.integers(-1, 5) | st.sampled_from([10**9, 10**9 + 1])),
    "Float64": (pl.Float64(), st.sampled_from([0.0, 1.0, 2.0, 2.5, -1.0, 1e9, 1e10, math.nan])),
    "Decimal": (pl.Decimal(20, 1), st.sampled_from([*map(Decimal, ("0", "3", "2.5", "-1"))])),
    "String": (pl.String(), st.sampled_from(["", "0", "1", "7", "1000000000", "-1", "2.5", "x"])),
}


def _jobs_of_row(count: Any) -> int | None:
    """How many jobs a row stands for; None where the count is no whole number up to 10^9."""
    if count is None or count == "":
        return 1
    if isinstance(count, str):
        return int(count) if count.isdigit() and int(count) <= 10**9 else None
    return int(count) if 0 <= count <= 10**9 and count == int(count) else None


@st.composite
def plans(draw: st.DrawFn) -> pl.DataFrame:
    """Jobs with counts and labels."""
    frame = draw(frames())
    teams = draw(_list(st.sampled_from(["ads", "film", "", "émile 广告", None]), frame.height))
    frame = frame.with_columns(pl.Series("team", teams, dtype=pl.String))
    if draw(st.booleans()):
        kind, values = COUNTS[draw(st.sampled_from(sorted(COUNTS)))]
        counts = draw(_list(values | st.none(), frame.height))
        frame = frame.with_columns(pl.Series("count", counts, dtype=kind))
    return frame


@SHORT_LAW
@given(
    plan=plans(),
    name=st.sampled_from(BUNDLED),
    by=st.sampled_from([(), ("team",), ("model",), ("quality", "team"), ("team", "model")]),
)
@example(
    # A total past 2^63: 3 × 10^9 jobs × 326.755296 credits = 980,265,888,000 credits.
    plan=pl.DataFrame(
        {
            "model": ["motion-control"] * 3,
            "character_orientation": ["video"] * 3,
            "quality": ["1080p"] * 3,
            "seconds": [30.0] * 3,
            "count": [10**9] * 3,
            "team": ["ads", None, ""],
        }
    ),
    name="evolink",
    by=("team",),
)
def test_an_estimate_is_the_sum_of_the_scalar_quotes_times_the_counts(
    books: Mapping[str, PriceBook], plan: pl.DataFrame, name: str, by: tuple[str, ...]
) -> None:
    book, at = books[name], "2026-10-10"
    if "quality" in by and "quality" not in plan.columns:
        plan = plan.with_columns(pl.lit(None, dtype=pl.String).alias("quality"))
    sums: dict[tuple[str | None, ...], list[int]] = {}
    unpriced, ranged = [], 0
    for number, row in enumerate(plan.to_dicts(), start=1):
        key = tuple(_grouped(book, column, row[column]) for column in by)
        group = sums.setdefault(key, [0] * 5)
        count = _jobs_of_row(row.get("count"))
        amounts = None if count is None else scalar(book, row, at=at)
        if amounts is None or count is None:
            unpriced.append(number)
            group[4] += 1 if count is None else count
            continue
        group[0] += count
        for place, amount in enumerate(amounts, start=1):
            group[place] += amount * count
        ranged += count if amounts[0] != amounts[2] else 0

    result = estimate(plan, book, by=by, at=at, keep=1000)

    assert {group.key: list(group[1:]) for group in result.groups} == (sums if by else {})
    assert list(result.total[1:]) == [sum(column) for column in zip(*sums.values(), strict=True)]
    assert [item.row for item in result.not_priced] == unpriced
    assert dict(result.reasons) == Counter(item.reason for item in result.not_priced)
    assert (result.rows, result.not_priced_rows) == (plan.height, len(unpriced))
    assert result.unknown_length_jobs == ranged


def _grouped(book: PriceBook, column: str, value: str | None) -> str | None:
    """A short name of a model stands in the group of its id."""
    known = column == "model" and value in (*book.models, *book.aliases)
    return book.model(str(value)) if known else value or None


@settings(LAW, max_examples=60)
@given(plan=plans(), form=st.sampled_from(["csv", "parquet", "jsonl"]))
def test_a_plan_of_texts_has_the_same_estimate_from_a_file(
    books: Mapping[str, PriceBook], tmp_path: Path, plan: pl.DataFrame, form: str
) -> None:
    # The number keeps a row without any other cell from being an empty line.
    number = pl.int_range(pl.len()).alias("number")
    if "seconds" in plan.columns and plan["seconds"].dtype.is_temporal():
        plan = plan.with_columns(pl.lit("12.4").alias("seconds"))
    plan = plan.with_columns(pl.all().cast(pl.String)).with_columns(number)
    path = tmp_path / f"plan.{form}"
    if form == "csv":
        plan.write_csv(path)
    elif form == "parquet":
        plan.write_parquet(path)
    else:
        plan.write_ndjson(path)
    expected = estimate(plan, books["evolink"], by=["team"], at="2026-10-10")
    assert estimate(path, books["evolink"], by=["team"], at="2026-10-10") == expected
