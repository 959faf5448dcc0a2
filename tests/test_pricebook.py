"""Price files are read whole or refused by field; overlays, channels and dates do as they say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError

from ledger import CustomElement, MotionControl, PriceBook, Quote, TextToVideo
from ledger.errors import InvalidPriceFile, UnknownChannel, UnknownModel
from ledger.pricebook import ModelFile, Price

MODEL = "kling-v3-motion-control"
JOB = MotionControl(quality="720p", character_orientation="video", reference_seconds=10)
TEXT = TextToVideo(model="kling-v3-text-to-video", duration=5, quality="720p", sound="off")
DAY = "2026-10-10"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file and says where."""

    def write(text: str | bytes, name: str = "mine.toml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def overlay(change: str, *, name: str = "acme", model: str = MODEL) -> str:
    """The text of an overlay with one change."""
    return (
        f'name = "{name}"\n[[overlay]]\nmodel = "{model}"\n'
        f'source = "contract 7"\nchecked = 2026-09-01\n{change}\n'
    )


def price(change: str = "", *, model: str = "my-model", start: str = "2026-01-01T00:00:00Z") -> str:
    """The text of a price file with one price of 2 credits per second asked for."""
    lines = {
        "effective_from": start,
        "source": '"price list"',
        "checked": "2026-09-01",
        "unit": '"second"',
        "rate": "2",
        "settles_on": '"requested"',
    }
    given = dict(line.split(" = ", 1) for line in change.splitlines() if " = " in line)
    lines |= {key: value for key, value in given.items() if "." not in key}
    body = "\n".join(f"{key} = {value}" for key, value in lines.items() if value != "gone")
    return f'model = "{model}"\nbody = "text_to_video"\n[[price]]\n{body}\n'


def mine(seconds: int = 5, quality: str | None = None) -> TextToVideo:
    return TextToVideo(model="my-model", duration=seconds, quality=quality)


def refused(path: Path) -> dict[str, str]:
    """The faults of a file, by field; the message names the file."""
    with pytest.raises(InvalidPriceFile) as caught:
        PriceBook.bundled(overlays=[path])
    assert str(path) in str(caught.value)
    assert caught.value.subject == str(path)
    return {fault.field: fault.problem for fault in caught.value.faults}


def test_every_bundled_book_reads_and_prices_every_model() -> None:
    assert PriceBook.bundled_names() == ("evolink", "evolink-panel", "evolink-rules")
    for name in PriceBook.bundled_names():
        book = PriceBook.bundled(name)
        assert list(book.models) == sorted(book.models)
        assert MODEL in book.models
        for model in book.models:
            assert book.in_force(model, DAY).version.source.startswith("https://")
            assert book.limits(model) is not None
            assert book.kind(model).__doc__


def test_every_alias_leads_to_a_model() -> None:
    book = PriceBook.bundled()
    for alias, model in book.aliases.items():
        assert book.model(alias) == model
        assert book.file(alias) is book.file(model)
        assert book.limits(alias) == book.limits(model)


def test_a_book_that_does_not_exist_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidPriceFile, match="did you mean evolink-rules"):
        PriceBook.bundled("evolink-rule")


def test_an_unknown_model_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UnknownModel) as caught:
        PriceBook.bundled().model("kling-v3-motion")
    assert MODEL in caught.value.nearest


def test_the_stretches_of_a_timeline_meet_without_gap_or_overlap() -> None:
    for model in PriceBook.bundled().models:
        stretches = PriceBook.bundled().timeline(model)
        assert stretches[-1].end is None
        for one, after in pairwise(stretches):
            assert one.start < after.start
            assert one.end == after.start
        ids = [item.version.id for item in stretches]
        assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("change", "credits_"),
    [
        ("rate = 8", "80"),  # 10 × 8
        ("rate = 0.00000001", "0.0000001"),
        ("discount = 0.05", "77.5656"),  # 81.648 × 0.95
        ('multiplier = [{ options = ["quality"], table = { "720p" = 0.5 } }]', "40.824"),
        ("smallest_charge = 100", "100"),
        ("rate = 8\ndiscount = 0.25", "60"),  # 10 × 8 × 0.75
        ('rate = 8\nuser_group = "gold"', "80"),
        ('rate = 8\nuser_group = "silver"', "81.648"),
    ],
)
def test_an_overlay_changes_a_price(write: Write, change: str, credits_: str) -> None:
    book = PriceBook.bundled(overlays=[write(overlay(change))], user_group="gold")
    assert book.quote(JOB, at=DAY).maximum == Decimal(credits_)
    assert book.quote(CustomElement(), at=DAY).maximum == 1


def test_an_overlay_for_a_user_group_says_nothing_to_others(write: Write) -> None:
    path = write(overlay('rate = 8\nuser_group = "gold"'))
    assert PriceBook.bundled(overlays=[path]).quote(JOB, at=DAY).maximum == Decimal("81.648")


def test_an_overlay_is_part_of_the_version_and_the_source(write: Write) -> None:
    plain_book = PriceBook.bundled()
    book = PriceBook.bundled(overlays=[write(overlay("rate = 8"))])
    version = book.quote(JOB, at=DAY).terms.version
    assert book.name == version.book == "evolink+acme"
    assert version.id.startswith(f"evolink/{MODEL}@2026-03-01+acme~")
    assert version.id != plain_book.quote(JOB, at=DAY).terms.version.id
    assert version.source == "contract 7"
    untouched = book.quote(CustomElement(), at=DAY).terms.version.id
    assert untouched == plain_book.quote(CustomElement(), at=DAY).terms.version.id


def test_a_discount_is_a_factor_that_is_shown(write: Write) -> None:
    quote = PriceBook.bundled(overlays=[write(overlay("discount = 0.05"))]).quote(JOB, at=DAY)
    assert "× 0.95 (discount 5 %)" in quote.explain()


def test_the_version_changes_with_the_figure_and_not_with_how_it_is_written(write: Write) -> None:
    def version(figure: str) -> str:
        book = PriceBook.bundled(overlays=[write(overlay(f"rate = {figure}"))])
        return book.quote(JOB, at=DAY).terms.version.id

    assert version("8") == version("8.0") == version('"8.00"') == version("0.8e1")
    assert version("8") != version("8.00000001")


def test_an_overlay_applies_from_its_first_instant_to_just_before_its_last(write: Write) -> None:
    dates = "effective_from = 2026-06-01T00:00:00Z\neffective_until = 2026-07-01T00:00:00Z"
    book = PriceBook.bundled(overlays=[write(overlay(f"rate = 8\n{dates}"))])
    start, end = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    quotes = {at: book.quote(JOB, at=at) for at in (start - tick, start, end - tick, end)}
    figures = [str(quote.maximum) for quote in quotes.values()]
    assert figures == ["81.648", "80", "80", "81.648"]
    versions = [quote.terms.version.id for quote in quotes.values()]
    assert versions[1] == versions[2]
    assert len(set(versions)) == 3
    assert [item.end for item in book.timeline(MODEL)] == [start, end, None]
    # A job held under the overlay is charged under it, whenever it ends.
    assert book.charge(JOB, seconds=10, version=versions[1]).credits == 80


def test_the_later_overlay_wins_within_a_file_and_between_files(write: Write) -> None:
    twice = overlay("rate = 8") + overlay("rate = 7").removeprefix('name = "acme"\n')
    one = write(twice, "one.toml")
    other = write(overlay("rate = 6", name="other"), "other.toml")

    def credits_(*paths: Path) -> Decimal:
        return PriceBook.bundled(overlays=paths).quote(JOB, at=DAY).maximum

    assert credits_(one) == 70
    assert credits_(one, other) == 60
    assert credits_(other, one) == 70


def test_an_overlay_may_name_many_models_by_a_pattern(write: Write) -> None:
    book = PriceBook.bundled(overlays=[write(overlay("discount = 0.5", model="kling-*"))])
    assert book.quote(JOB, at=DAY).maximum == Decimal("40.824")
    assert book.quote(CustomElement(), at=DAY).maximum == Decimal("0.5")


def test_a_pattern_with_a_multiplier_leaves_prices_per_call_alone(write: Write) -> None:
    change = 'multiplier = [{ options = ["quality"], table = { "720p" = 2 } }]'
    # The pattern means kling-v3-motion-control and kling-custom-element.
    book = PriceBook.bundled(overlays=[write(overlay(change, model="*-c*"))])
    assert book.quote(CustomElement(), at=DAY).maximum == 1


def test_an_overlay_replaces_a_table_whatever_the_order_of_its_options(write: Write) -> None:
    change = 'multiplier = [{ options = ["quality", "sound"], table = { "720p" = { off = 2 } } }]'
    book = PriceBook.bundled(overlays=[write(overlay(change, model="kling-v3-text-to-video"))])
    quote = book.quote(TEXT, at=DAY)
    assert len(quote.terms.factors) == 1
    assert quote.maximum == 54  # 5 × 5.4 × 2


def test_a_table_of_one_option_does_not_silently_multiply_a_table_of_two(write: Write) -> None:
    change = 'multiplier = [{ options = ["quality"], table = { "1080p" = 2 } }]'
    path = write(overlay(change, model="kling-v3-text-to-video"))
    job = TEXT.model_copy(update={"quality": "1080p"})
    # 5 × 5.4 × 2 = 54, or a refusal; never 5 × 5.4 × 1.334 × 2 = 72.036 behind one's back.
    try:
        found = PriceBook.bundled(overlays=[path]).quote(job, at=DAY).maximum
    except InvalidPriceFile:
        return
    assert found == 54


def test_an_overlay_that_matches_no_model_is_refused_with_a_suggestion(write: Write) -> None:
    path = write(overlay("rate = 8", model="kling-v3-motion-contrl"))
    with pytest.raises(InvalidPriceFile, match=f"did you mean {MODEL}") as caught:
        PriceBook.bundled(overlays=[path])
    (fault,) = caught.value.faults
    assert fault.field == "overlay.0.model"


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ("rates = 8", "overlay.0.rates", "is not a key of this table"),
        ("", "overlay.0", "changes nothing"),
        ('note = "only words"', "overlay.0", "changes nothing"),
        ("rate = -1", "overlay.0.rate", "greater than or equal to 0"),
        ("rate = nan", "overlay.0.rate", "finite"),
        ("rate = inf", "overlay.0.rate", "finite"),
        ("rate = 1e999", "overlay.0.rate", "less than"),
        ("rate = 1e9999999999999999999", "overlay.0.rate", "finite"),
        ("rate = 1.123456789", "overlay.0.rate", "8 decimal places"),
        ("rate = 1000001", "overlay.0.rate", "1000000"),
        ("rate = true", "overlay.0.rate", ""),
        ('rate = "1e3"', "overlay.0.rate", "plain digits"),
        ('rate = "٣"', "overlay.0.rate", "plain digits"),
        ("discount = 1", "overlay.0.discount", "less than 1"),
        ("discount = 5", "overlay.0.discount", "less than 1"),
        ("rate = 8\neffective_from = 2026-01-01T00:00:00", "overlay.0.effective_from", "timezone"),
        ("rate = 8\neffective_from = 20260101", "overlay.0.effective_from", ""),
        (
            f"rate = 8\neffective_from = {DAY}T00:00:01Z\neffective_until = {DAY}T00:00:00Z",
            "overlay.0",
            "later than effective_from",
        ),
        (
            'multiplier = [{ options = ["colour"], table = { red = 2 } }]',
            "overlay.0.multiplier.0.options.0",
            "quality",
        ),
        (
            'multiplier = [{ options = ["quality"], table = { "720p" = nan } }]',
            "overlay.0.multiplier.0.table.720p",
            "finite",
        ),
        (
            'multiplier = [{ options = ["quality"], table = { "720p" = 0 } }]',
            "overlay.0.multiplier.0.table.720p",
            "greater than 0",
        ),
    ],
)
def test_a_bad_overlay_is_refused_by_file_and_field(
    write: Write, change: str, field: str, problem: str
) -> None:
    found = refused(write(overlay(change)))
    assert field in found
    assert problem in found[field]


def test_a_fault_is_not_followed_by_a_second_that_is_none(write: Write) -> None:
    # The file has an [[overlay]]; saying that there is not even one misleads.
    assert refused(write(overlay("rate = -1"))).keys() == {"overlay.0.rate"}


@pytest.mark.parametrize("gone", ["source", "checked", "effective_from", "unit", "rate"])
def test_a_price_without_its_ground_is_refused(write: Write, gone: str) -> None:
    assert refused(write(price(f"{gone} = gone")))[f"price.0.{gone}"] == "is required"


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ("model = = 3", "", "is not TOML"),
        ("x = " + "[" * 100_000, "", "nested too deep"),
        (f"x = {'1' * 5000}", "", "too long"),
        ("", "", "neither [[overlay]] nor [[price]]"),
        ('[[overlay]]\nmodel = "kling-*"\n', "name", "is required"),
        (price("rate = nan"), "price.0.rate", "finite"),
        (price("rate = -2"), "price.0.rate", "greater than or equal to 0"),
        (price("rate = 1e999"), "price.0.rate", "less than"),
        (price("colour = 2"), "price.0.colour", "is not a key"),
        (price("unit = 'minute'"), "price.0.unit", "second"),
        (price("effective_from = 2026-01-01T00:00:00"), "price.0.effective_from", "timezone"),
        (price("effective_from = 2026-01-01"), "price.0.effective_from", "timezone"),
        (price("effective_from = 20260101"), "price.0.effective_from", ""),
        (price("shortest_seconds = 5\nlongest_seconds = 4"), "price.0", "shorter"),
        (price("longest_seconds = 0"), "price.0.longest_seconds", ""),
        (
            price('longest_seconds = { option = "quality", values = {} }'),
            "price.0.longest_seconds.values",
            "",
        ),
        (price("charge = { quantum = 0 }"), "price.0.charge.quantum", "greater than 0"),
        (price('rounding = { mode = "up" }'), "price.0.rounding.mode", ""),
        (
            price('channel = [{ name = "dearest", rate = 3 }]'),
            "price.0",
            "channel names",
        ),
        (price().replace("my-model", "My Model"), "model", "pattern"),
        (price().replace('body = "text_to_video"\n', ""), "body", "is required for a new model"),
        (price().replace("text_to_video", "song"), "body", "custom_element"),
        (price() + price()[price().index("[[price]]") :], "", "two prices start at 2026-01-01"),
    ],
)
def test_a_bad_price_file_is_refused_by_file_and_field(
    write: Write, text: str, field: str, problem: str
) -> None:
    found = refused(write(text))
    assert field in found
    assert problem in found[field]


def test_the_fault_of_a_length_by_option_has_no_inner_workings_in_its_path(write: Write) -> None:
    found = refused(write(price('longest_seconds = { option = "quality", values = {} }')))
    assert not [field for field in found if "function" in field or "(" in field]


def test_one_instant_written_in_two_zones_is_one_date(write: Write) -> None:
    again = price(start="2026-01-01T02:00:00+02:00")
    text = price() + again[again.index("[[price]]") :]
    assert "two prices start" in refused(write(text))[""]


def test_bounds_that_cross_in_whole_steps_are_refused(write: Write) -> None:
    # In steps of 3 s, at least 10 s is 4 steps and at most 10.5 s is 3: a longer job costs less.
    change = (
        'rounding = { mode = "ceil", step_seconds = 3 }\n'
        "shortest_seconds = 10\nlongest_seconds = 10.5"
    )
    assert "price.0" in refused(write(price(change)))


def test_a_step_without_rounding_is_refused(write: Write) -> None:
    found = refused(write(price('rounding = { mode = "none", step_seconds = 0.1 }')))
    assert found == {"price.0.rounding": "step_seconds says nothing where the mode is none"}


def test_bounds_between_two_steps_are_refused(write: Write) -> None:
    lines = 'rounding = { mode = "ceil", step_seconds = 3 }\nshortest_seconds = 10'
    found = refused(write(price(lines)))
    assert found == {"price.0": "shortest and longest must be multiples of step_seconds"}


def test_a_file_that_is_not_utf_8_is_refused(write: Write) -> None:
    assert refused(write(price().encode("utf-16"))) == {"": "is not UTF-8 text"}
    assert refused(write(b"\xff" + price().encode())) == {"": "is not UTF-8 text"}


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(write: Write) -> None:
    path = write(b"\xef\xbb\xbf" + price().replace("\n", "\r\n").encode())
    assert PriceBook.bundled(overlays=[path]).quote(mine(), at=DAY).maximum == 10


def test_a_file_that_is_missing_or_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.toml")
    assert refused(tmp_path)


def test_a_path_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(InvalidPriceFile):
        PriceBook.bundled(overlays=["a\0b.toml"])


def test_a_float_given_through_python_has_lost_digits_and_is_refused() -> None:
    fields = {
        "effective_from": "2026-01-01T00:00:00Z",
        "source": "s",
        "checked": "2026-01-01",
        "unit": "second",
    }
    with pytest.raises(ValidationError, match="lost digits"):
        Price.model_validate(fields | {"rate": 8.1648})
    table = [{"options": ["quality"], "table": {"720p": 1.334}}]
    with pytest.raises(ValidationError, match="lost digits"):
        Price.model_validate(fields | {"rate": "8.1648", "multiplier": table})
    with pytest.raises(ValidationError, match="lost digits"):
        ModelFile.model_validate({"model": "m", "price": [fields | {"rate": 8.1648}]})


def test_a_users_file_adds_a_model(write: Write) -> None:
    book = PriceBook.bundled(overlays=[write(price())])
    assert "my-model" in book.models
    assert book.quote(mine(), at=DAY).maximum == 10  # 5 × 2
    assert book.limits("my-model") is None
    assert PriceBook.bundled().models == tuple(m for m in book.models if m != "my-model")


def test_a_users_model_priced_before_the_first_dollar_rate_can_still_be_shown(write: Write) -> None:
    book = PriceBook.bundled(overlays=[write(price(start="2020-01-01T00:00:00Z"))])
    quote = book.quote(mine(), at="2021-01-01")
    assert quote.maximum == 10
    assert quote.document()["credits"]["maximum"] == "10"
    assert "5 s × 2 = 10 credits" in quote.explain()


def test_a_users_file_appends_a_price_and_the_old_one_stands(write: Write) -> None:
    text = price(model="kling-v3-text-to-video", start="2026-12-01T00:00:00Z")
    text += '[[price.multiplier]]\noptions = ["quality"]\ntable = { "720p" = 1 }\n'
    book = PriceBook.bundled(overlays=[write(text.replace('body = "text_to_video"\n', ""))])
    before = datetime(2026, 12, 1, tzinfo=UTC) - timedelta(microseconds=1)
    assert book.quote(TEXT, at=before).maximum == 27  # 5 × 5.4
    assert book.quote(TEXT, at="2026-12-01").maximum == 10  # 5 × 2
    assert book.limits("kling-v3-text-to-video") is not None
    old = PriceBook.bundled().quote(TEXT, at=before)
    assert book.quote(TEXT, at=before).terms.version.id == old.terms.version.id


def test_a_block_that_forgets_its_multipliers_is_refused(write: Write) -> None:
    # It would price 1080p and 4k like 720p.
    text = price(model="kling-v3-text-to-video", start="2026-12-01T00:00:00Z")
    found = refused(write(text.replace('body = "text_to_video"\n', "")))
    assert found == {
        "price.0.multiplier": "is missing for quality (720p, 1080p, 4k); a block inherits nothing"
    }


def test_defaults_of_a_known_model_cannot_be_changed(write: Write) -> None:
    text = 'defaults = { quality = "1080p" }\n' + price(model="kling-v3-text-to-video")
    assert refused(write(text)) == {"defaults": "of a known model cannot be changed"}


def test_a_version_can_be_charged_after_an_overlay_was_added(write: Write) -> None:
    old = PriceBook.bundled().quote(TEXT, at="2026-11-01")
    change = overlay("rate = 1", model="kling-v3-text-to-video")
    book = PriceBook.bundled(overlays=[write(change)])
    assert book.quote(TEXT, at="2026-11-01").maximum != old.maximum
    again = book.charge(TEXT, version=old.terms.version.id)
    assert again.credits == old.maximum


def test_a_version_cut_by_an_overlay_that_is_gone_has_the_same_figures(write: Write) -> None:
    change = overlay(
        "rate = 1\neffective_until = 2026-06-01T00:00:00Z", model="kling-v3-text-to-video"
    )
    cut = PriceBook.bundled(overlays=[write(change)]).quote(TEXT, at="2026-11-01")
    assert "@2026-06-01~" in cut.terms.version.id
    assert PriceBook.bundled().charge(TEXT, version=cut.terms.version.id).credits == cut.maximum


CHANNELS = price() + (
    '[[price.multiplier]]\noptions = ["quality"]\ntable = { "720p" = 1, "1080p" = 2 }\n'
    '[[price.channel]]\nname = "north"\nrate = 3\n'
    '[[price.channel]]\nname = "south"\n'
    '[[price.channel.multiplier]]\noptions = ["quality"]\ntable = { "720p" = 1, "1080p" = 4 }\n'
)


@pytest.mark.parametrize(
    ("channel", "quality", "credits_", "named"),
    [
        ("preferred", "720p", 10, "preferred"),  # 5 × 2
        ("preferred", "1080p", 20, "preferred"),  # 5 × 2 × 2
        ("north", "720p", 15, "north"),  # 5 × 3
        ("north", "1080p", 30, "north"),  # 5 × 3 × 2
        ("south", "1080p", 40, "south"),  # 5 × 2 × 4
        ("dearest", "720p", 15, "north"),
        ("dearest", "1080p", 40, "south"),
    ],
)
def test_a_channel_is_priced_by_name_or_as_the_dearest(
    write: Write, channel: str, quality: str, credits_: int, named: str
) -> None:
    book = PriceBook.bundled(overlays=[write(CHANNELS)])
    quote = book.quote(mine(quality=quality), at=DAY, channel=channel)
    assert quote.maximum == credits_
    assert quote.document()["price"]["channel"] == named
    assert book.charge(mine(quality=quality), at=DAY, channel=channel).credits == credits_


def test_a_dearer_channel_is_said_in_the_notes(write: Write) -> None:
    book = PriceBook.bundled(overlays=[write(CHANNELS)])

    def dearer(quote: Quote) -> list[str]:
        return [note for note in quote.notes if note.startswith("channel")]

    (note,) = dearer(book.quote(mine(quality="720p"), at=DAY))
    assert note == "channel north would cost more: at most 15 credits"  # 5 × 3
    assert dearer(book.quote(mine(quality="720p"), at=DAY, channel="north")) == []
    assert dearer(PriceBook.bundled().quote(TEXT, at=DAY)) == []


def test_an_unknown_channel_is_refused_with_those_there_are(write: Write) -> None:
    book = PriceBook.bundled(overlays=[write(CHANNELS)])
    with pytest.raises(UnknownChannel) as caught:
        book.quote(mine(quality="720p"), at=DAY, channel="west")
    assert {"preferred", "dearest", "north", "south"} == set(caught.value.known)
