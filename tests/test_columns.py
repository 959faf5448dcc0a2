"""Plans of jobs that are already in memory: prices by row, sums by label, rows without a price.

Prices of the bundled book on 2026-10-10, worked by hand:
  motion control  720p   8.1648 a second; 12.4 s are billed as 13 s:   13 × 8.1648 = 106.1424
  motion control  1080p  8.1648 × 1.334 = 10.8918432;  13 × 10.8918432 = 141.5939616
  unknown length, orientation video: 3 to 30 s; 3 × 8.1648 = 24.4944 to 30 × 8.1648 = 244.944
  unknown length, orientation image: 3 to 10 s; 24.4944 to 10 × 8.1648 = 81.648
  custom element  1 credit a call
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from ledger import Estimate, PriceBook, estimate, price_frame
from ledger.columns import Group, NotPriced
from ledger.errors import InvalidMoment, InvalidPlan, InvalidSeconds, UnknownChannel, UnknownModel

AT = "2026-10-10"
E8 = 100_000_000
JOB_E8 = 10_614_240_000  # 106.1424 credits


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.bundled()


def jobs(**columns: Any) -> pl.DataFrame:
    """Motion control at 720p, 12.4 s, orientation video, unless a column says otherwise."""
    usual = {"model": "motion-control", "orientation": "video", "seconds": 12.4}
    given = usual | columns
    rows = max(len(value) for value in given.values() if isinstance(value, (list, pl.Series)))
    return pl.DataFrame(
        {
            name: value if isinstance(value, (list, pl.Series)) else [value] * rows
            for name, value in given.items()
        },
        strict=False,
    )


def of(plan: pl.DataFrame, book: PriceBook, **more: Any) -> Estimate:
    return estimate(plan, book, **({"at": AT} | more))


def whole(jobs: int, each_e8: int, *, left: int = 0) -> Group:
    """A total without ranges: so many jobs at one price, and so many without a price."""
    return Group((), jobs, jobs * each_e8, jobs * each_e8, jobs * each_e8, left)


def faults(error: pytest.ExceptionInfo[InvalidPlan]) -> list[str]:
    return [str(fault) for fault in error.value.faults]


# --- price_frame ---------------------------------------------------------------------------------


def test_a_frame_keeps_its_columns_and_gains_four(book: PriceBook) -> None:
    plan = jobs(quality=["720p", "1080p", "8k"], note=["a", None, "c"])
    priced = price_frame(plan, book, at=AT)
    assert priced.columns == [
        *plan.columns,
        "minimum_e8",
        "expected_e8",
        "maximum_e8",
        "not_priced",
    ]
    assert priced.schema["maximum_e8"] == pl.Int64
    assert priced["maximum_e8"].to_list() == [JOB_E8, 14_159_396_160, None]
    assert priced["not_priced"].to_list() == [
        None,
        None,
        "quality: must be 720p or 1080p, not '8k'",
    ]


def test_the_price_in_a_frame_is_for_one_job_whatever_the_count(book: PriceBook) -> None:
    assert price_frame(jobs(count=[7, 0]), book, at=AT)["maximum_e8"].to_list() == [JOB_E8, JOB_E8]


def test_a_job_of_unknown_length_has_a_range(book: PriceBook) -> None:
    plan = jobs(orientation=["video", "image"], seconds=[None, None])
    priced = price_frame(plan, book, at=AT, expected_seconds="9.2")  # 10 × 8.1648 = 81.648
    assert priced.select("minimum_e8", "expected_e8", "maximum_e8").rows() == [
        (2_449_440_000, 8_164_800_000, 24_494_400_000),
        (2_449_440_000, 8_164_800_000, 8_164_800_000),
    ]


def test_a_frame_without_rows_is_priced_to_a_frame_without_rows(book: PriceBook) -> None:
    plan = pl.DataFrame(schema={"model": pl.String, "seconds": pl.Float64})
    priced = price_frame(plan, book, at=AT)
    assert priced.shape == (0, 6)


@pytest.mark.parametrize(
    "length", [float("nan"), float("inf"), -float("inf"), 1e19, 1e300, 1_000_001.0, -0.0, 5e-324]
)
def test_a_length_that_is_none_costs_its_own_row_only(book: PriceBook, length: float) -> None:
    priced = price_frame(jobs(seconds=[12.4, length, 12.4]), book, at=AT)
    assert priced["maximum_e8"].to_list() == [JOB_E8, None, JOB_E8]
    assert priced["not_priced"].is_null().to_list() == [True, False, True]


def test_nanoseconds_of_a_duration_count(book: PriceBook) -> None:
    # Billed to the exact length since it is doubled: (8.000000999 + 8.000000999) s × 12.15
    # = 194.4000242757 credits; the same length written as text costs the same.
    model = "happyhorse-1.0-video-edit"
    nanoseconds = pl.Series("seconds", [8_000_000_999], dtype=pl.Duration("ns"))
    as_duration = pl.DataFrame({"model": [model], "seconds": nanoseconds})
    as_text = pl.DataFrame({"model": [model], "seconds": ["8.000000999"]})
    expected = price_frame(as_text, book, at="2026-10-01")["maximum_e8"].to_list()
    assert expected == [19_440_002_428]
    assert price_frame(as_duration, book, at="2026-10-01")["maximum_e8"].to_list() == expected


def test_a_duration_of_many_ages_is_refused_and_does_not_wrap_around(book: PriceBook) -> None:
    # (2^58 + 5000) ms are 5000 ms modulo 2^64 ns.
    ages = pl.Series("seconds", [2**58 + 5000, 12_400], dtype=pl.Duration("ms"))
    plan = pl.DataFrame({"model": "motion-control", "orientation": "video", "seconds": ages})
    result = estimate(plan, book, at=AT)
    assert [item.row for item in result.not_priced] == [1]
    assert result.total.maximum_e8 == JOB_E8


def test_more_than_64_values_of_an_option_are_still_exact(book: PriceBook) -> None:
    wrong = [f"{number}p" for number in range(200, 300)]
    quality = [value for pair in zip(wrong, ["720p", "1080p"] * 50, strict=True) for value in pair]
    priced = price_frame(jobs(quality=quality), book, at=AT)
    assert priced["maximum_e8"].to_list() == [None, JOB_E8, None, 14_159_396_160] * 50
    reasons = [f"quality: must be 720p or 1080p, not {value!r}" for value in wrong]
    assert priced["not_priced"].drop_nulls().to_list() == reasons


def test_separators_inside_option_values_do_not_mix_combinations_up(book: PriceBook) -> None:
    # With over 64 values the options are joined to one text; "\x1f" and "\x00" are in that text.
    many = [f"q{number}" for number in range(70)]
    odd: list[str | None] = ["\x00", None, "720p\x1fvideo", "720p"]
    priced = price_frame(jobs(quality=[*many, *odd]), book, at=AT)
    assert priced["maximum_e8"].to_list()[70:] == [None, JOB_E8, None, JOB_E8]


def test_more_than_100_000_combinations_of_options_are_refused(book: PriceBook) -> None:
    plan = pl.DataFrame({"model": [f"job-{number}" for number in range(100_001)]})
    with pytest.raises(InvalidPlan, match="100001 different combinations of values"):
        price_frame(plan, book, at=AT)
    with pytest.raises(InvalidPlan, match="100001 different combinations of values"):
        estimate(plan, book, at=AT)


@pytest.mark.parametrize("name", ["minimum_e8", "expected_e8", "maximum_e8", "not_priced"])
def test_a_frame_that_has_a_result_column_already_is_refused(book: PriceBook, name: str) -> None:
    with pytest.raises(InvalidPlan) as error:
        price_frame(jobs(**{name: [1]}), book, at=AT)
    assert faults(error) == [f"{name}: is a column already"]


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ({"seconds": [True]}, "seconds: is of type Boolean; it must be a number"),
        ({"count": [True]}, "count: is of type Boolean; it must be a whole number"),
        ({"seconds": [[5]]}, "seconds: is of type List(Int64); it must be text or a number"),
        ({"team": [["a"]]}, "team: is of type List(String); it must be text or a number"),
        ({"team": [b"a"]}, "team: is of type Binary; it must be text or a number"),
        ({"__seconds": [5]}, "__seconds: must not begin with two underscores"),
        ({" seconds": [5]}, "seconds: stands twice in the header (as seconds)"),
        ({"duration": [5]}, "duration: stands twice in the header (as seconds)"),
        ({"  ": [5]}, "column 4: has no header"),
        ({"secnds": [5]}, None),  # seconds is there, so this is a label
        (
            {"qualty": ["1080p"]},
            "qualty: is not a known column; did you mean quality? A label needs another name",
        ),
    ],
)
def test_columns_of_a_frame_are_checked(
    book: PriceBook, column: dict[str, Any], problem: str | None
) -> None:
    if problem is None:
        assert of(jobs(**column), book, by=list(column)).total.maximum_e8 == JOB_E8
        return
    with pytest.raises(InvalidPlan) as error:
        of(jobs(**column), book)
    assert faults(error) == [problem]


def test_a_plan_that_is_no_plan_is_refused_with_our_own_error(book: PriceBook) -> None:
    rows: Any = [{"model": "motion-control"}]
    with pytest.raises((InvalidPlan, TypeError)):
        estimate(rows, book, at=AT)


# --- totals and groups ---------------------------------------------------------------------------


def test_a_total_is_the_quotes_times_the_counts(book: PriceBook) -> None:
    # 2 × 106.1424 + 0 × 106.1424 + 1 × (24.4944 to 244.944) = 236.7792 to 457.2288
    result = of(jobs(seconds=[12.4, 12.4, None], count=[2, 0, None]), book)
    assert result.total == Group((), 3, 23_677_920_000, 45_722_880_000, 45_722_880_000, 0)
    assert result.unknown_length_jobs == 1
    assert (result.rows, result.groups, result.by) == (3, (), ())


def test_an_estimate_says_what_it_rests_on(book: PriceBook) -> None:
    result = of(jobs(count=[1]), book)
    assert (result.source, result.at.isoformat()) == ("evolink", "2026-10-10T00:00:00+00:00")
    assert result.exchange_rate is not None
    assert result.exchange_rate.credits_per_unit == 68


def test_labels_that_are_empty_and_labels_that_are_missing_are_one_group_at_the_end(
    book: PriceBook,
) -> None:
    result = of(jobs(team=["film", "", "ads", None, "ads"]), book, by=["team"])
    assert [(group.key, group.jobs) for group in result.groups] == [
        (("ads",), 2),
        (("film",), 1),
        ((None,), 2),
    ]


def test_groups_by_two_columns_are_sorted_by_both(book: PriceBook) -> None:
    plan = jobs(team=["b", "a", "a", "b"], quality=["1080p", "720p", None, "1080p"])
    result = of(plan, book, by=["team", "quality"])
    assert [(group.key, group.maximum_e8) for group in result.groups] == [
        (("a", "720p"), JOB_E8),
        (("a", None), JOB_E8),
        (("b", "1080p"), 2 * 14_159_396_160),
    ]


def test_labels_that_are_numbers_or_dates_are_shown_as_text(book: PriceBook) -> None:
    plan = jobs(scene=[1, 2, 1]).with_columns(pl.lit("2026-10-01").str.to_date().alias("day"))
    keys = [group.key for group in of(plan, book, by=["day", "scene"]).groups]
    assert keys == [("2026-10-01", "1"), ("2026-10-01", "2")]


@pytest.mark.parametrize("by", [["orientation"], ["character_orientation"]])
def test_grouping_knows_the_other_names_of_an_option(book: PriceBook, by: list[str]) -> None:
    result = of(jobs(orientation=["video", "image"]), book, by=by)
    assert result.by == ("character_orientation",)
    # 12.4 s with orientation image are billed up to 10 s: 10 × 8.1648 = 81.648
    assert [group[:3] for group in result.groups] == [
        (("image",), 1, 8_164_800_000),
        (("video",), 1, JOB_E8),
    ]


@pytest.mark.parametrize(
    ("by", "problem"),
    [
        (["tema"], "tema: is not a column to group by; did you mean team?"),
        (["zzz"], "it has model, quality, character_orientation, sound, team"),
        (["seconds"], "seconds: is not a column to group by"),
        (["team", "team"], "names a column twice"),
        (["orientation", "character_orientation"], "names a column twice"),
    ],
)
def test_grouping_by_what_is_no_column_is_refused(
    book: PriceBook, by: list[str], problem: str
) -> None:
    with pytest.raises(InvalidPlan) as error:
        of(jobs(team=["ads"]), book, by=by)
    assert problem in str(error.value)


@pytest.mark.parametrize("label", ["jobs", "rows", "left", "left_out", "ranged", "not_priced"])
def test_a_label_may_have_any_name(book: PriceBook, label: str) -> None:
    plan = jobs(**{label: ["a", "b", "a"]}, seconds=[12.4, 12.4, 0.0])
    result = of(plan, book, by=[label])
    assert [(group.key, group.jobs, group.not_priced_jobs) for group in result.groups] == [
        (("a",), 1, 1),
        (("b",), 1, 0),
    ]


def test_sums_past_a_ledger_column_are_exact(book: PriceBook) -> None:
    # 3 × 10^9 jobs × 30 s × 10.8918432 = 980,265,888,000 credits, ten times 2^63 - 1 e8.
    plan = jobs(quality="1080p", seconds=30, count=[10**9] * 3, team=["a", "b", "a"])
    result = of(plan, book, by=["team"])
    assert result.total.maximum_e8 == 980_265_888_000 * E8 > 2**63
    assert [group.maximum_e8 for group in result.groups] == [
        653_510_592_000 * E8,
        326_755_296_000 * E8,
    ]


# --- counts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "jobs_priced"),
    [
        ([1, None, 0, 3], 5),  # 1 + 1 + 0 + 3 = 5
        (["1", "", "0", None, "1000000000"], 1_000_000_003),
        ([2.0, None, 0.0], 3),
        ([Decimal("2.0"), Decimal(3)], 5),
        (pl.Series([2, 3], dtype=pl.UInt8), 5),
        (pl.Series([None, None], dtype=pl.Null), 2),
    ],
)
def test_an_empty_count_is_one_job_and_zero_is_none(
    book: PriceBook, counts: Any, jobs_priced: int
) -> None:
    result = of(jobs(count=counts), book)
    assert result.not_priced == ()
    assert result.total == whole(jobs_priced, JOB_E8)


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        ("2.5", "'2.5'"),
        ("-1", "'-1'"),
        ("x", "'x'"),
        (" 3", "' 3'"),
        ("1,000", "'1,000'"),
        ("1000000001", "'1000000001'"),
        ("9" * 30, "'99999999999999999999'"),
        (-1, "'-1'"),
        (1_000_000_001, "'1000000001'"),
        (2.5, "'2.5'"),
        (1e300, "'1e+300'"),
        (float("nan"), "'nan'"),
        (float("inf"), "'inf'"),
        (2**64 - 1, "'18446744073709551615'"),
    ],
)
def test_a_count_that_is_no_number_of_jobs_is_one_job_without_a_price(
    book: PriceBook, count: Any, shown: str
) -> None:
    kind = pl.UInt64 if count == 2**64 - 1 else None
    result = of(jobs(count=pl.Series([count, type(count)(3)], dtype=kind)), book)
    problem = f"count: must be a whole number from 0 to 1000000000, not {shown}"
    assert result.not_priced == (NotPriced(1, problem),)
    assert result.total == whole(3, JOB_E8, left=1)


# --- rows without a price ------------------------------------------------------------------------

MIXED = {
    "model": ["motion-control", "kling-v9", "motion-control", "", "element", "motion-control"],
    "orientation": ["video", "video", None, "video", None, "video"],
    "seconds": ["12.4", "12.4", "12.4", "12.4", None, "soon"],
    "count": ["2", "5", "1", "1", "10", "4"],
    "team": ["ads", "ads", "ads", "film", "film", "film"],
}
REASONS = [
    (2, "unknown model 'kling-v9' in price book evolink"),
    (3, "character_orientation: is required"),
    (4, "model: is empty"),
    (6, "reference_seconds: 'soon' is not a length in seconds; write it like 12.4"),
]


def test_a_row_without_a_price_is_counted_as_not_priced_never_as_zero(book: PriceBook) -> None:
    result = of(jobs(**MIXED), book, by=["team"])
    # ads: 2 × 106.1424 = 212.2848, not priced 5 + 1; film: 10 × 1 credit, not priced 1 + 4.
    assert [tuple(group) for group in result.groups] == [
        (("ads",), 2, *[21_228_480_000] * 3, 6),
        (("film",), 10, *[1_000_000_000] * 3, 5),
    ]
    assert result.total == Group((), 12, 22_228_480_000, 22_228_480_000, 22_228_480_000, 11)
    assert [tuple(item) for item in result.not_priced] == REASONS
    assert (result.rows, result.not_priced_rows) == (6, 4)
    assert dict(result.reasons) == {reason: 1 for _, reason in REASONS}


def test_the_most_frequent_reason_stands_first(book: PriceBook) -> None:
    result = of(jobs(model=["a", "b", "b", "", "", "", "motion-control"]), book)
    assert list(result.reasons.values()) == [3, 2, 1]
    assert next(iter(result.reasons)) == "model: is empty"


@pytest.mark.parametrize("keep", [0, 1, 3, 4, 100])
def test_all_rows_without_a_price_are_handed_on_however_few_are_kept(
    book: PriceBook, keep: int
) -> None:
    handed: list[NotPriced] = []
    result = of(jobs(**MIXED), book, keep=keep, on_not_priced=handed.extend)
    assert [tuple(item) for item in handed] == REASONS
    assert [tuple(item) for item in result.not_priced] == REASONS[:keep]
    assert result.not_priced_rows == 4


def test_a_plan_in_which_nothing_has_a_price_costs_nothing_and_says_so(book: PriceBook) -> None:
    result = of(jobs(model=["a", "b"], count=[2, 3]), book)
    assert result.total == Group((), 0, 0, 0, 0, 5)
    assert result.not_priced_rows == 2


def test_before_the_first_price_no_row_has_a_price(book: PriceBook) -> None:
    result = of(jobs(count=[1, 2]), book, at="2026-02-28")
    assert result.total == Group((), 0, 0, 0, 0, 3)
    assert "no price in force" in result.not_priced[0].reason


# --- notes ---------------------------------------------------------------------------------------


def test_defaults_that_were_assumed_are_noted_with_their_number_of_rows(book: PriceBook) -> None:
    plan = jobs(
        model=["motion-control", "motion-control", "v3-text-to-video", "element"],
        orientation=["video", "video", None, None],
        quality=[None, "720p", "", None],
        seconds=[12.4, 12.4, 5.0, None],
    )
    assert of(plan, book).notes == (
        "2 rows: no quality given: the provider takes 720p",  # the first and the third row
        "1 row: no sound given: the provider takes off",  # text to video
    )


def test_rows_of_an_unknown_option_assume_nothing(book: PriceBook) -> None:
    plan = jobs(quality=[None, "8k"], orientation=["video", "video"])
    assert of(plan, book).notes == ("1 row: no quality given: the provider takes 720p",)


def test_a_row_without_a_price_assumes_nothing(book: PriceBook) -> None:
    plan = jobs(seconds=["12.4", "0", "12.4"], count=["1", "1", "x"])
    assert of(plan, book).notes == ("1 row: no quality given: the provider takes 720p",)


def test_a_length_that_was_assumed_is_noted(book: PriceBook) -> None:
    plan = pl.DataFrame({"model": ["v3-text-to-video"], "quality": ["720p"], "sound": ["off"]})
    quote = book.quote(book.job("v3-text-to-video", quality="720p", sound="off"), at=AT)
    assert quote.notes == ("no duration given: the provider takes 5 s",)
    assert of(plan, book).notes == ("1 row: no duration given: the provider takes 5 s",)


def test_unknown_lengths_are_counted_in_jobs_and_only_where_there_is_a_range(
    book: PriceBook,
) -> None:
    plan = jobs(
        model=["motion-control", "motion-control", "element", "v3-text-to-video", "kling-v9"],
        orientation=["video", "video", None, None, None],
        seconds=[None, 12.4, None, None, None],
        count=[7, 100, 100, 100, 100],
    )
    assert of(plan, book).unknown_length_jobs == 7


# --- arguments -----------------------------------------------------------------------------------


def test_one_model_may_be_named_for_a_plan_without_that_column(book: PriceBook) -> None:
    plan = pl.DataFrame({"seconds": [5, 10]})
    # 15 s × 5.4 = 81 credits
    assert of(plan, book, model="v3-text-to-video").total.maximum_e8 == 81 * E8
    with pytest.raises(UnknownModel, match="did you mean v3-text-to-video"):
        of(plan, book, model="v3-text-to-vdeo")


def test_motion_control_may_be_named_for_a_plan_without_a_model(book: PriceBook) -> None:
    plan = pl.DataFrame({"orientation": ["video"], "seconds": [12.4]})
    assert of(plan, book, model="motion-control").total.maximum_e8 == JOB_E8


def test_a_plan_without_a_model_is_refused(book: PriceBook) -> None:
    with pytest.raises(InvalidPlan) as error:
        of(pl.DataFrame({"seconds": [5]}), book)
    assert faults(error) == [
        "model: is missing; name the model in each row, or once for the whole plan"
    ]


def test_a_plan_without_rows_is_refused(book: PriceBook) -> None:
    with pytest.raises(InvalidPlan, match="has no rows"):
        of(pl.DataFrame(schema={"model": pl.String}), book)


def test_arguments_are_checked_before_the_plan_is_read(book: PriceBook) -> None:
    with pytest.raises(InvalidSeconds):
        estimate("no such file.csv", book, expected_seconds="soon")
    with pytest.raises(InvalidMoment):
        estimate("no such file.csv", book, at="soon")


def test_a_channel_that_no_price_has_is_refused(book: PriceBook) -> None:
    with pytest.raises(UnknownChannel):
        of(jobs(count=[1]), book, channel="dearst")


@pytest.mark.parametrize(
    "count",
    [
        [],
        [pl.lit(2).alias("count")],  # polars keeps a literal as one value, whatever the height
        [pl.int_range(pl.len()).alias("count")],
    ],
)
def test_progress_ends_at_the_number_of_rows_and_never_falls(
    book: PriceBook, count: list[pl.Expr]
) -> None:
    plan = jobs(seconds=["12.4"] * 300_000).with_columns(count)
    told: list[int] = []
    result = of(plan, book, progress=told.append)
    assert told[-1] == result.rows == 300_000
    assert told == sorted(told)


def test_hundreds_of_thousands_of_rows_without_a_price_are_handed_on_in_order(
    book: PriceBook,
) -> None:
    plan = jobs(seconds=["12.4", "soon", "0.0"] * 150_000)
    handed: list[int] = []
    result = of(
        plan, book, on_not_priced=lambda rows: handed.extend(row.row for row in rows), keep=2
    )
    assert handed == [row for row in range(1, 450_001) if row % 3 != 1]
    assert [item.row for item in result.not_priced] == [2, 3]
    assert result.total == whole(150_000, JOB_E8, left=300_000)


def test_a_lazy_plan_is_estimated_like_a_frame(book: PriceBook) -> None:
    plan = jobs(**MIXED)
    assert estimate(plan.lazy(), book, by=["team"], at=AT) == of(plan, book, by=["team"])


def test_a_lazy_plan_that_fails_while_it_is_read_is_refused(book: PriceBook) -> None:
    lazy = jobs(seconds=["soon"]).lazy().with_columns(pl.col("seconds").cast(pl.Float64))
    with pytest.raises(InvalidPlan, match="cannot be read"):
        estimate(lazy, book, at=AT)


@pytest.mark.parametrize("slip", ["secnds", "modle", "orientaton", "sounds", "cuont"])
def test_slips_are_refused_whatever_the_source_of_the_frame(book: PriceBook, slip: str) -> None:
    kept: Sequence[str] = [
        name
        for name, near in (("model", "modle"), ("orientation", "orientaton"), ("seconds", "secnds"))
        if near != slip
    ]
    plan = jobs(count=[1]).select(*kept).with_columns(pl.lit("5").alias(slip))
    with pytest.raises(InvalidPlan, match=f"{slip}: is not a known column; did you mean"):
        of(plan, book)


@pytest.mark.parametrize("label", ["country", "account", "discount"])
def test_everyday_labels_are_not_taken_for_slips(book: PriceBook, label: str) -> None:
    assert of(jobs(**{label: ["a"]}), book, by=[label]).groups[0].key == ("a",)


@pytest.mark.parametrize("slip", ["secs", "sec", "length", "duration_seconds", "resolution"])
def test_other_words_for_a_known_column_are_not_taken_for_labels(
    book: PriceBook, slip: str
) -> None:
    plan = pl.DataFrame({"model": ["motion-control"], "orientation": ["video"], slip: ["5"]})
    with pytest.raises(InvalidPlan):
        of(plan, book)


def test_clips_longer_than_the_longest_are_counted_in_a_note(book: PriceBook) -> None:
    # Video bills 30 s at most, image 10 s: the second, third and fifth row are capped.
    plan = pl.DataFrame(
        {
            "model": "motion-control",
            "quality": "720p",
            "orientation": ["video", "video", "image", "image", "video"],
            "seconds": [30.0, 30.1, 10.5, 10.0, 200.0],
        }
    )
    notes = of(plan, book).notes
    assert notes == (
        "3 rows: longer than the longest clip: billed up to it, and the provider may refuse them",
    )


def test_a_group_without_any_price_has_no_amounts_rather_than_zero(book: PriceBook) -> None:
    plan = pl.DataFrame(
        {"model": ["custom-element", "nothing"], "team": ["ads", "film"], "count": [2, 3]}
    )
    result = estimate(plan, book, by="team", at=AT)
    ads, film = result.document()["groups"]
    assert ads["credits"] == {"minimum": "2", "expected": "2", "maximum": "2"}
    assert (film["jobs"], film["not_priced_jobs"]) == (0, 3)
    assert film["credits"] is film["usd"] is None


def test_a_short_name_and_its_id_are_one_group(book: PriceBook) -> None:
    plan = pl.DataFrame({"model": ["custom-element", "kling-custom-element", "element"]})
    groups = estimate(plan, book, by=["model"], at=AT).groups
    assert [(group.key, group.jobs) for group in groups] == [(("kling-custom-element",), 3)]


def test_an_estimate_before_any_exchange_rate_has_no_dollars(book: PriceBook) -> None:
    result = estimate(jobs(count=[1]), book, at="2025-01-01")
    assert (result.exchange_rate, result.not_priced_rows) == (None, 1)
    assert result.document()["credits_per_usd"] is None
