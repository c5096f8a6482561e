"""How results are told: JSON for programs, short lines and tables for people."""

from __future__ import annotations

import datetime as dt
import io
import threading

import pytest
import typer

from understudy.cli import _journal, _output, _progress
from understudy.cli._moments import duration, moment
from understudy.storage import Journal, JournalClosed, NewEvent


@pytest.fixture
def as_terminal(monkeypatch):
    """Lets this process believe that a person is looking, at 60 columns."""
    monkeypatch.setattr(_output, "terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (dt.datetime(2026, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), "2026-01-01T00:00:00Z"),
        (dt.timedelta(seconds=90), 90.0),
        (b"\x00", {"$bytes": "AA=="}),
        ({1: {2.5: None}}, {"1": {"2.5": None}}),
        ((1, {2}), [1, [2]]),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (True, True),
        (complex(1, 2), "(1+2j)"),
    ],
)  # fmt: skip
def test_any_value_has_a_form_in_json(value, told):
    assert _output.jsonable(value) == told


@pytest.mark.parametrize(
    ("value", "width", "told"),
    [
        ({"a": "b"}, 20, '{"a": "b"}'),
        ("a\nb\tc", 20, "a b c"),
        ("x" * 10, 5, "xxxx…"),
        ("x", 0, "…"),
        ("\x1b[31mred", 20, " [31mred"),
    ],
)
def test_a_value_fits_on_a_line_and_cannot_steer_the_terminal(value, width, told):
    assert _output.compact(value, width) == told


@pytest.mark.parametrize(
    ("count", "told"),
    [(None, "unknown"), (0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"),
     (5 << 20, "5.0 MiB"), (3 << 40, "3,072.0 GiB")],
)  # fmt: skip
def test_sizes_are_told_as_people_read_them(count, told):
    assert _output.size(count) == told


def test_a_table_has_headings_and_numbers_to_the_right(as_terminal, capsys):
    _output.print_table(("name", "events"), [("[b]ada", 5), ("bob", 1000)], numbers=("events",))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["name    events", "[b]ada       5", "bob       1000"]


def test_values_of_several_lines_stand_below_their_names(capsys):
    _output.print_facts([("a", 1), ("long", "{\n}"), ("empty", "")])
    assert capsys.readouterr().out == "a      1\nlong\n  {\n  }\nempty\n"


def test_an_event_at_a_terminal_is_cut_to_its_width(as_terminal, run, journal):
    lines = run("replay", "account:ada").splitlines()
    assert len(lines) == 1
    long = run("replay", "session:ada:echo:t1", "--limit", "1")
    assert long.count("\n") == 1


def test_names_of_users_cannot_steer_the_terminal(as_terminal, run, journal, monkeypatch):
    monkeypatch.setattr(_journal, "terminal", lambda: True)
    journal.append("evil\x1b[2J", [NewEvent("type\x07\x1b]0;x\x07", "text\x1b[31m", id="\x1b[5m")])
    shown = [
        run("ls"),
        run("streams"),
        run("types"),
        run("show", "9"),
        run("tail", "--no-follow", "-n", "1"),
    ]
    own = "\x1b[36m", "\x1b[2m", "\x1b[0m"  # the colours of the printer
    for text in shown:
        for colour in own:
            text = text.replace(colour, "")
        assert "\x1b" not in text
        assert "\x07" not in text


def test_work_is_told_on_a_terminal(monkeypatch, run, journal, tmp_path):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    with _progress.progress() as tell:
        tell("copying", 1, 2)
        tell("copying", 2, 2)
    assert "copying" in shown.getvalue()
    assert "2/2" in shown.getvalue()
    assert [r.seq for r in _journal._watched(journal.read("account:ada"), "counting")] == [1]
    assert "counting" in shown.getvalue()


def test_tail_prints_what_is_written_until_it_is_interrupted(run, journal, monkeypatch):
    printed = []
    following = threading.Event()

    class Printer(_output.EventPrinter):
        def print(self, record):
            printed.append(record.seq)
            following.set()
            if record.seq == 3:
                raise KeyboardInterrupt

    def write():
        assert following.wait(30)
        for number in (2, 3):
            journal.append("account:ada", [NewEvent("deposited", number)])

    monkeypatch.setattr(_journal, "EventPrinter", Printer)
    writer = threading.Thread(target=write)
    writer.start()
    run("tail", "account:ada")
    writer.join(30)
    assert printed == [1, 2, 3]


def test_tail_ends_with_the_error_that_ended_its_journal(run, journal, monkeypatch):
    class Ended:
        failed = JournalClosed("here")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(_journal, "PATIENCE", 0.01)
    monkeypatch.setattr(Journal, "subscribe", lambda *_, **__: Ended())
    with pytest.raises(JournalClosed):
        run("tail")


def test_moments_and_durations_are_read_as_people_write_them():
    now = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    assert moment("12h", now) == dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
    assert moment("2026-01-01T01:00:00+01:00") == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert moment("2026-01-01").tzinfo is dt.UTC
    assert duration("1.5 h") == dt.timedelta(minutes=90)
    assert duration("2w") == dt.timedelta(days=14)
    with pytest.raises(typer.BadParameter):
        duration("soon")
