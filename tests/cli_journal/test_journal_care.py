"""`understudy journal` copies, checks and prunes a journal without losing what is needed."""

from __future__ import annotations

import json

import pytest
import typer

from understudy.cli._journal_care import byte_count
from understudy.cli._journal_open import JournalBusy, NoStream
from understudy.storage import BadEvent, Journal, NewEffect, NewEvent, StorageError, Write


@pytest.fixture
def stopped(journal):
    """The journal, with its system stopped."""
    journal.close()


# --- export, import -------------------------------------------------------------------------


def test_an_export_has_a_line_for_each_event_and_can_be_imported(run, journal, tmp_path):
    run("export", tmp_path / "events.jsonl")
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["position"] for line in lines] == list(range(1, 9))
    fresh = tmp_path / "fresh"
    assert run.json("import", tmp_path / "events.jsonl", "-d", fresh) == {"new": 8}
    assert run.json("import", tmp_path / "events.jsonl", "-d", fresh) == {"new": 0}
    assert run.lines("replay", "-d", fresh) == run.lines("replay")


def test_an_export_goes_to_standard_output_where_no_file_is_named(run, journal):
    out = run("export", "--stream", "account:ada")
    assert json.loads(out)["id"] == "d-1"
    assert run("export", "-", "--stream", "account:ada") == out


def test_an_export_takes_the_filters_of_a_replay(run, journal, minutes):
    def positions(*arguments):
        return [json.loads(line)["position"] for line in run("export", *arguments).splitlines()]

    assert positions("--after", "6") == [7, 8]
    assert positions("--priority", "critical") == [8]
    assert positions("--topic", "talk", "--until", minutes(1.5)) == [1, 3]
    assert positions("--stream", "session:ada:echo:t1", "--after", "4", "-t", "token") == [6]


def test_an_export_that_fails_leaves_no_half_file(run, journal, tmp_path):
    (tmp_path / "events.jsonl").write_text("the last good one")
    with pytest.raises(NoStream):
        run("export", tmp_path / "events.jsonl", "--stream", "nobody")
    assert (tmp_path / "events.jsonl").read_text() == "the last good one"
    assert list(tmp_path.glob("*.part")) == []


def test_an_import_reads_standard_input(run, journal, tmp_path):
    text = run("export")
    assert run.json("import", "-", "-d", tmp_path / "fresh", input=text) == {"new": 8}


def test_an_import_of_something_else_names_the_line(run, stopped, tmp_path):
    (tmp_path / "notes.txt").write_text("shopping\n")
    with pytest.raises(BadEvent, match="line 1"):
        run("import", tmp_path / "notes.txt")


def test_an_import_of_a_missing_file_is_an_error(run, stopped, tmp_path):
    with pytest.raises(FileNotFoundError):
        run("import", tmp_path / "nothing")


def test_an_import_that_contradicts_the_journal_is_refused(run, journal, stopped, tmp_path):
    line = json.loads(run("export", "--stream", "account:ada"))
    line["id"] = "another"
    (tmp_path / "other.jsonl").write_text(json.dumps(line))
    with pytest.raises(StorageError):
        run("import", tmp_path / "other.jsonl")
    assert run.json("stats")["total_events"] == 8


# --- backup, verify -------------------------------------------------------------------------


def test_a_backup_of_a_live_journal_opens_like_a_journal(run, journal, tmp_path):
    report = run.json("backup", tmp_path / "copy")
    assert report["position"] == 8
    assert report["verified"] is True
    journal.append("account:ada", [NewEvent("deposited", {"amount": 1})])
    assert run.json("stats", "-d", tmp_path / "copy")["total_events"] == 8
    with Journal.open(tmp_path / "copy") as copy:
        assert copy.append("account:ada", [NewEvent("d", 1)], expected_seq=1).first_seq == 2
    assert "8 events verified" not in run("backup", tmp_path / "copy2", "--no-verify")
    assert "9 events verified" in run("backup", tmp_path / "copy3")


def test_a_backup_does_not_overwrite(run, journal, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "precious").touch()
    with pytest.raises(StorageError, match="not empty"):
        run("backup", tmp_path / "copy")


def test_verify_finds_no_problem_in_a_sound_journal(run, journal):
    assert run.json("verify") == {
        "ok": True,
        "events": 8,
        "streams": 3,
        "snapshots": 0,
        "problems": [],
    }
    assert "no problem in 8 events of 3 streams" in run("verify")


def test_verify_names_a_damaged_event_and_ends_with_1(run, journal, stopped, data_dir):
    path = data_dir / "journal" / "data.mdb"
    data = path.read_bytes()
    assert b"question 2" in data
    path.write_bytes(data.replace(b"question 2", b"question X"))
    report = json.loads(run("verify", "--json", code=1))
    assert report["ok"] is False
    (problem,) = report["problems"]
    assert (problem["stream"], problem["seq"]) == ("session:ada:echo:t1", 3)
    assert "session:ada:echo:t1\t3" in run("verify", code=1)


# --- prune ----------------------------------------------------------------------------------


def test_prune_moves_old_events_with_a_snapshot_to_the_archive(run, journal):
    journal.save_snapshot("session:ada:echo:t1", 6, "all of it")
    journal.close()
    report = run.json("prune", "--older-than", "1d")
    assert report["dropped_events"] == 6
    assert len(report["archives"]) == 1
    assert set(report["kept_because"]) == {"account:ada", "account:bob"}
    assert run.json("stats")["total_events"] == 2
    assert [row["events"] for row in run.json("archive")] == [6]


def test_prune_says_what_it_kept_and_why(run, stopped):
    text = run("prune", "--older-than", "1d")
    assert "dropped" in text
    assert "0 events" in text
    assert "account:ada" in text
    assert "snapshot" in text


def test_prune_keeps_what_an_unfinished_effect_needs(run, journal):
    journal.save_snapshot("account:ada", 1, 5)
    journal.write(Write(effects=(NewEffect("mail", {}, "k", stream="account:ada"),)))
    journal.close()
    assert "account:ada" in run.json("prune", "--older-than", "1d")["kept_because"]


def test_prune_with_force_drops_what_is_needed_too(run, stopped):
    assert run.json("prune", "--older-than", "1d", "--force", "--yes")["dropped_events"] == 8
    assert run.json("ls") == []


def test_prune_archives_where_it_is_told_or_not_at_all(run, journal, tmp_path):
    journal.save_snapshot("session:ada:echo:t1", 4, "half of it")
    journal.close()
    report = run.json("prune", "--older-than", "1d", "--archive-to", tmp_path / "old")
    assert report["archives"][0].startswith(str(tmp_path / "old"))
    assert run.json("archive", "ls", "--path", tmp_path / "old")[0]["events"] == 4
    assert run.json("archive") == []


def test_prune_without_an_archive_drops_for_good(run, journal):
    journal.save_snapshot("session:ada:echo:t1", 6, "all of it")
    journal.close()
    report = run.json("prune", "--keep-events", "0", "--no-archive", "--yes")
    assert report["dropped_events"] == 6
    assert report["archives"] == []


def test_prune_of_a_stream_sets_its_limits(run, stopped):
    run("prune", "--stream", "session:ada:echo:t1", "--keep-events", "2", "--yes")
    assert [r["seq"] for r in run.lines("replay", "session:ada:echo:t1")] == [5, 6]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "say what to drop"),
        (["--older-than", "long"], "write 90s"),
        (["--keep-size", "large"], "write 500000"),
        (["--stream", "account:ada", "--keep-size", "1MB"], "not for a stream"),
        (["--stream", "account:ada", "--keep-events", "1", "--archive-to", "x"], "not archived"),
    ],
)
def test_prune_refuses_what_makes_no_sense(run, stopped, arguments, told):
    output = " ".join(run("prune", *arguments, code=2).replace("│", " ").split())
    assert told in output


@pytest.mark.parametrize(
    ("text", "number"),
    [("500000", 500_000), ("1KB", 1024), ("64 MB", 64 << 20), ("1.5GiB", 3 << 29), ("2t", 2 << 40)],
)
def test_sizes_are_read_as_people_write_them(text, number):
    assert byte_count(text) == number


def test_a_size_that_is_none_is_refused():
    with pytest.raises(typer.BadParameter):
        byte_count("many")


# --- archive --------------------------------------------------------------------------------


def test_archives_are_made_listed_and_read_back(run, journal, minutes):
    assert run.json("archive", "make", "--before", minutes(1.5))["events"] == 4
    assert run.json("stats")["total_events"] == 8
    (row,) = run.json("archive", "ls")
    assert (row["date"], row["events"], row["streams"]) == ("2026-01-01", 4, 1)
    assert row["types"] == ["token", "user_message"]
    assert run.json("archive", "ls", "--stream", "account:ada") == []
    assert run.json("archive", "ls", "--type", "token") == [row]
    records = run.lines("archive", "read", "session:ada:echo:t1", "--type", "user_message")
    assert [r["payload"]["text"] for r in records] == ["question 1", "question 2"]
    assert len(run.lines("archive", "read", "--limit", "3")) == 3
    assert "2026-01-01\t4\t1" in run("archive")


def test_events_in_two_archives_are_read_once(run, journal, minutes):
    run("archive", "make", "--before", minutes(1.5))
    run("archive", "make")
    assert [r["position"] for r in run.lines("archive", "read")] == list(range(1, 9))


def test_an_archive_of_nothing_is_not_made(run, journal):
    assert "nothing to archive" in run("archive", "make", "--before", "2025-01-01")
    assert run.json("archive", "make", "--before", "2025-01-01") is None


def test_old_archives_are_removed(run, journal):
    run("archive", "make")
    assert run.json("archive", "purge", "--older-than", "10000w") == {"removed": 0}
    assert "1 archives removed" in run("archive", "purge", "--older-than", "1h")
    assert run.json("archive") == []


# --- a running system -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["prune", "--older-than", "1d"], ["import", "events.jsonl"]],
)
def test_what_changes_the_journal_is_refused_where_its_owner_cannot_be_asked(
    run, journal, tmp_path, arguments
):
    (tmp_path / "events.jsonl").touch()
    with pytest.raises(JournalBusy, match="stop it first"):
        run(*arguments)
