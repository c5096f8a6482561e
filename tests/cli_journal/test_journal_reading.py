"""`understudy journal` shows what a journal holds, beside the system that writes it."""

from __future__ import annotations

import json
import signal

import pytest
import typer

import understudy.cli
from understudy.cli._journal_look import NoActorClass
from understudy.cli._journal_open import NoJournal, NoStream
from understudy.cli._target import BadTarget
from understudy.storage import NewEvent


def test_ls_lists_the_streams_with_their_events(run, journal):
    rows = run.json("ls")
    assert [row["stream"] for row in rows] == ["account:ada", "account:bob", "session:ada:echo:t1"]
    assert rows[2] == {
        "stream": "session:ada:echo:t1",
        "events": 6,
        "first_seq": 1,
        "last_seq": 6,
        "last_type": "token",
        "last_timestamp": "2026-01-01T00:02:00Z",
    }
    assert [row["stream"] for row in run.json("ls", "account:")] == ["account:ada", "account:bob"]


def test_ls_prints_a_line_for_each_stream_between_tabs_where_nobody_looks(run, journal):
    first, *rows = run("ls").splitlines()
    assert first.split("\t")[:4] == ["stream", "events", "first", "last"]
    assert rows[0].split("\t")[:4] == ["account:ada", "1", "1", "1"]


def test_ls_counts_what_can_still_be_read(run, journal):
    journal.truncate("session:ada:echo:t1", 5)
    row = run.json("ls", "session")[0]
    assert (row["events"], row["first_seq"], row["last_seq"]) == (2, 5, 6)


def test_streams_prints_bare_names(run, journal):
    assert run("streams").split() == ["account:ada", "account:bob", "session:ada:echo:t1"]
    assert run.json("streams", "session") == ["session:ada:echo:t1"]


def test_types_counts_events_by_type_most_frequent_first(run, journal, minutes):
    rows = run.json("types")
    assert [(row["type"], row["events"]) for row in rows] == [
        ("token", 3),
        ("user_message", 3),
        ("deposited", 1),
        ("overdrawn", 1),
    ]
    assert rows[0]["version"] == 2
    assert [row["type"] for row in run.json("types", "account:ada")] == ["deposited"]
    assert [row["events"] for row in run.json("types", "--until", minutes(1))] == [1, 1]
    assert "user_message\t3\t1" in run("types")


def test_tail_prints_the_last_events(run, journal):
    lines = run("tail", "--no-follow", "-n", "2").splitlines()
    assert lines[0].endswith('account:ada 1  deposited  {"amount": 5}')
    assert lines[1].endswith('account:bob 1  overdrawn  {"by": 7}')
    assert run("tail", "--no-follow", "-n", "0") == ""


def test_tail_of_a_stream_prints_its_own_events(run, journal):
    records = run.lines("tail", "session:ada:echo:t1", "--no-follow", "-n", "3")
    assert [record["seq"] for record in records] == [4, 5, 6]
    assert records[1]["payload"] == {"text": "question 3"}


def test_tail_filters_by_type_topic_and_priority(run, journal):
    def seqs(*arguments):
        return [record["position"] for record in run.lines("tail", "--no-follow", *arguments)]

    assert seqs("--type", "deposited", "-t", "overdrawn") == [7, 8]
    assert seqs("--topic", "talk") == [1, 3, 5]
    assert seqs("--priority", "critical") == [8]
    assert "use critical or normal" in run("tail", "--priority", "high", code=2)


def test_show_prints_one_event_in_full(run, journal):
    text = run("show", "7")
    assert '"amount": 5' in text
    assert "d-1" in text
    (record,) = run.lines("show", "account:ada", "1")
    assert (record["position"], record["id"], record["type"]) == (7, "d-1", "deposited")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["99"], "no event at position 99: the last is 8"),
        (["account:ada", "2"], "holds 1 to 1"),
        (["account:ada"], "Give its seq: 1 to 1"),
    ],
)
def test_show_says_what_there_is_instead(run, journal, arguments, told):
    output = " ".join(run("show", *arguments, code=2).replace("│", " ").split())
    assert told in output


def test_show_of_an_emptied_stream_says_so(run, journal):
    journal.delete("account:ada")
    assert "no events any more" in run("show", "account:ada", "1", code=2)


def test_replay_prints_events_in_the_order_of_writing(run, journal, minutes):
    def seqs(*arguments):
        return [record["seq"] for record in run.lines("replay", *arguments)]

    stream = "session:ada:echo:t1"
    assert seqs(stream) == [1, 2, 3, 4, 5, 6]
    assert seqs(stream, "--after", "2", "--until-seq", "4") == [3, 4]
    assert seqs(stream, "--reverse", "--limit", "2") == [6, 5]
    assert seqs(stream, "--since", minutes(1), "--until", minutes(2)) == [3, 4]
    assert seqs(stream, "--type", "token") == [2, 4, 6]
    assert [r["position"] for r in run.lines("replay", "--after", "6")] == [7, 8]
    assert [r["position"] for r in run.lines("replay", "--until-seq", "2")] == [1, 2]


def test_stats_tell_what_the_journal_holds(run, journal):
    data = run.json("stats")
    assert data["total_events"] == 8
    assert data["total_streams"] == 3
    assert data["last_position"] == 8
    assert data["size_bytes"] > 0
    assert "events_written" not in data
    lines = dict(line.split(None, 1) for line in run("stats").splitlines())
    assert lines["events"] == "8"
    assert lines["positions"] == "1 to 8"


def test_what_is_written_meanwhile_is_seen_by_the_next_look(run, journal):
    assert run.json("stats")["total_events"] == 8
    journal.append("account:ada", [NewEvent("deposited", {"amount": 1})])
    assert run.json("stats")["total_events"] == 9


# --- which journal --------------------------------------------------------------------------


def test_a_directory_without_a_journal_is_an_error_that_says_what_to_do(run, tmp_path):
    with pytest.raises(NoJournal, match="name the data directory"):
        run("ls", "--data-dir", tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_the_data_directory_is_the_option_then_the_environment_then_the_default(
    run, journal, data_dir, tmp_path, monkeypatch
):
    assert len(run.json("ls")) == 3
    monkeypatch.setenv("UNDERSTUDY_DATA_DIR", str(tmp_path / "elsewhere"))
    assert len(run.json("ls", "--data-dir", data_dir)) == 3
    monkeypatch.delenv("UNDERSTUDY_DATA_DIR")
    (tmp_path / ".understudy").symlink_to(data_dir)
    assert len(run.json("ls")) == 3


def test_the_directory_of_a_journal_may_be_named_itself(run, journal, data_dir):
    assert len(run.json("ls", "-d", data_dir / "journal")) == 3


def test_an_unknown_stream_is_an_error_with_similar_names(run, journal):
    with pytest.raises(NoStream, match=r"did you mean 'account:ada'") as error:
        run("replay", "acount:ada")
    assert "account:ada" in error.value.similar
    with pytest.raises(NoStream, match="lists them all"):
        run("tail", "zzz", "--no-follow")


@pytest.mark.parametrize("wrong", ["yesterday", "5 parsecs", "2026-13-01"])
def test_a_time_that_is_none_is_an_error_with_examples(run, journal, wrong):
    assert "write 2026-01-31" in run("replay", "--since", wrong, code=2)


def test_times_may_be_durations_ago(run, journal):
    # The events are of 2026-01-01, long before any test run of this release.
    assert run.lines("replay", "--since", "1h") == []
    assert len(run.lines("replay", "--until", "1h")) == 8


# --- the command as a process ---------------------------------------------------------------


@pytest.mark.slow
def test_tail_follows_another_process_and_ends_with_0_at_ctrl_c(start, journal):
    process = start("journal", "tail", "account:ada", "--json")
    first = json.loads(process.stdout.readline())
    assert (first["seq"], first["id"]) == (1, "d-1")
    for seq in (2, 3):
        journal.append("account:ada", [NewEvent("deposited", {"amount": seq})])
        journal.append("account:bob", [NewEvent("deposited", {"amount": seq})])
        record = json.loads(process.stdout.readline())
        assert (record["stream"], record["seq"]) == ("account:ada", seq)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.slow
def test_tail_of_everything_sees_each_event_once(start, journal):
    process = start("journal", "tail", "-n", "100", "--json")
    seen = [json.loads(process.stdout.readline())["position"] for _ in range(8)]
    for number in range(50):
        journal.append(f"new:{number % 3}", [NewEvent("n", number)])
    seen += [json.loads(process.stdout.readline())["position"] for _ in range(50)]
    assert seen == list(range(1, 59))


@pytest.mark.slow
def test_errors_are_one_line_on_standard_error_and_code_2(start, data_dir):
    process = start("journal", "ls")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("understudy: error: no journal at")


@pytest.mark.slow
@pytest.mark.parametrize("more", [0, 5000])
def test_a_reader_that_has_enough_is_a_good_end(start, journal, more):
    journal.append("long", [NewEvent("a", n) for n in range(more + 1)])
    process = start("journal", "replay")
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 0


def test_a_connection_that_breaks_is_not_taken_for_a_reader_that_has_enough(capfd, monkeypatch):
    def broken(*_):
        raise BrokenPipeError

    monkeypatch.setattr("typer.core.TyperGroup.invoke", broken)
    group = typer.main.get_command(understudy.cli.app)
    with pytest.raises(BrokenPipeError):
        group.invoke(None)  # type: ignore[arg-type]  # what it does with it is broken


@pytest.mark.parametrize(
    "command",
    ["ls", "streams", "types", "tail", "show", "replay", "stats", "export", "import", "backup",
     "verify", "prune", "archive"],
)  # fmt: skip
def test_every_command_has_help_with_an_example(run, command):
    text = run(command, "--help")
    assert f"understudy journal {command}" in text
    assert "Example" in text


def test_the_help_names_all_commands(run):
    text = run("--help")
    for name in ("ls", "tail", "show", "replay", "stats", "export", "import", "backup", "verify",
                 "prune", "archive", "streams", "types"):  # fmt: skip
        assert name in text


# --- an actor as it was ---------------------------------------------------------------------

OFFICE = """
from dataclasses import dataclass
import understudy as us

@us.event("cli-test.deposited")
@dataclass(frozen=True)
class Deposited:
    amount: int

class Account(us.PersistentActor):
    def __init__(self):
        super().__init__()
        self.balance = 0
    def apply(self, event):
        self.balance += event.amount

class Summed(Account):
    def snapshot(self):
        return self.balance
    def restore(self, state):
        self.balance = state
"""


@pytest.fixture
def history(run, journal, tmp_path, monkeypatch):
    """Three deposits, and a file with the classes of the actors that made them."""
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "office_of_the_cli_test.py").write_text(OFFICE)
    journal.append("cash", [NewEvent("cli-test.deposited", {"amount": n}) for n in (1, 10, 100)])
    return run


def test_replay_into_an_actor_prints_what_it_knew(history):
    def state(name, *arguments):
        target = f"office_of_the_cli_test.py:{name}"
        return history.json("replay", "cash", "--actor", target, *arguments)

    assert state("Account") == {"stream": "cash", "seq": 3, "state": {"balance": 111}}
    assert state("Account", "--until-seq", "2") == {
        "stream": "cash",
        "seq": 2,
        "state": {"balance": 11},
    }
    assert state("Summed", "--until-seq", "1")["state"] == 1
    text = history("replay", "cash", "--actor", "office_of_the_cli_test.py:Account")
    assert "balance  111" in text
    with pytest.raises(NoActorClass, match="no subclass of PersistentActor"):
        state("Deposited")
    with pytest.raises(BadTarget, match="cannot replay into 'office_of"):
        state("Nobody")


def test_replay_into_an_actor_needs_a_stream(history):
    assert "needs the stream" in history("replay", "--actor", "x:Y", code=2)
