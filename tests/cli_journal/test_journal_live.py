"""`understudy journal import` and `prune` are done by a running system itself."""

from __future__ import annotations

import json

import pytest

import understudy as us
from understudy.cli import _journal_live
from understudy.cli._journal_live import LineTooLong
from understudy.cli._journal_open import JournalBusy, NoStream
from understudy.storage import BadEvent
from understudy.supervision import ControlError, ControlSocket, control_request


class Account(us.PersistentActor):
    def __init__(self):
        super().__init__()
        self.events = []

    def apply(self, event):
        self.events.append(event)

    def on_receive(self, message):
        self.persist(us.NewEvent("said", message))
        return len(self.events)


@pytest.fixture
def system(data_dir):
    with us.ActorSystem("office", data_dir=data_dir) as system:
        yield system


@pytest.fixture
def export(tmp_path):
    """Writes an export of a stream with so many events."""

    def export(stream, count, size=0, first=1):
        path = tmp_path / "events.jsonl"
        with path.open("w") as file:
            for seq in range(first, first + count):
                line = {
                    "stream": stream,
                    "seq": seq,
                    "type": "noted",
                    "timestamp": "2026-01-01T00:00:00+00:00",
                    "id": f"{stream}-{seq}",
                    "payload": {"n": seq, "text": "x" * size},
                }
                file.write(json.dumps(line) + "\n\n")
        return path

    return export


def test_a_running_system_imports_in_pieces_and_its_readers_see_it(
    run, system, export, monkeypatch
):
    monkeypatch.setattr(_journal_live, "LINES", 10)
    asked = []

    def counted(data_dir, op, **options):
        asked.append(op)
        return control_request(data_dir, op, **options)

    monkeypatch.setattr("understudy.supervision.control_request", counted)
    path = export("notes", 35)
    assert run.json("import", path) == {"new": 35}
    assert asked == ["journal.import"] * 4
    assert [r.payload["n"] for r in system.journal.read("notes")] == list(range(1, 36))
    assert run.json("import", path) == {"new": 0}
    system.journal.append("notes", [us.NewEvent("noted", {"n": 36})], expected_seq=35)


def test_a_piece_ends_before_it_is_too_large(run, system, export, monkeypatch):
    monkeypatch.setattr(_journal_live, "SIZE", 1000)
    assert run.json("import", export("notes", 5, size=700)) == {"new": 5}
    assert system.journal.last_seq("notes") == 5


def test_an_event_that_is_too_large_for_a_running_system_is_named(run, system, export, monkeypatch):
    monkeypatch.setattr("understudy.supervision._control_socket.MAX_REQUEST", 2000)
    with pytest.raises(LineTooLong, match="line 1 has"):
        run("import", export("notes", 1, size=3000))


def test_a_line_that_is_no_event_is_named_by_its_number_in_the_file(run, system, export):
    path = export("notes", 2)
    path.write_text(path.read_text() + "nonsense\n")
    with pytest.raises(BadEvent, match="line 5 is no event"):
        run("import", path)


def test_the_history_of_a_living_actor_is_not_written_by_others(run, system, export):
    account = system.spawn(Account, persistence_id="account:ada", name="ada")
    account.ask("opened", timeout=5)
    path = export("account:ada", 1, first=2)
    with pytest.raises(ControlError, match="is the history of /user/ada, which is alive") as error:
        run("import", path)
    assert error.value.code == "StreamInUse"
    assert account.ask("used", timeout=5) == 2
    account.stop(block=True)
    assert run.json("import", export("account:ada", 1, first=3)) == {"new": 1}


def test_what_contradicts_the_journal_is_refused_and_nothing_of_it_is_written(run, system, export):
    system.journal.append("notes", [us.NewEvent("other", 1)])
    with pytest.raises(ControlError, match="notes"):
        run("import", export("notes", 3))
    assert system.journal.last_seq("notes") == 1


def test_a_running_system_prunes_and_goes_on(run, system, tmp_path):
    account = system.spawn(Account, persistence_id="account:ada")
    for number in range(20):
        account.ask(number, timeout=5)
    system.journal.append("notes", [us.NewEvent("noted", n) for n in range(30)])
    system.journal.save_snapshot("notes", 30, "all of them")
    report = run.json("prune", "--keep-events", "5", "--archive-to", "old")
    assert report["dropped_events"] == 25
    assert "account:ada" in report["kept_because"]
    assert report["archives"][0].startswith(str(tmp_path / "old"))
    assert "dropped  0 events" in run("prune", "--older-than", "30d", "--no-archive", "--yes")
    assert account.ask("more", timeout=5) == 21
    with pytest.raises(NoStream):
        run("prune", "--stream", "nothing", "--keep-events", "1")


@pytest.mark.parametrize(
    ("op", "options", "told"),
    [
        ("journal.prune", {}, "give max_age"),
        ("journal.prune", {"max_events": "all"}, "max_events is 'all'"),
        ("journal.prune", {"max_events": True}, "max_events is True"),
        ("journal.import", {"lines": "text"}, "a list of the lines"),
        ("journal.import", {"lines": [1]}, "a list of the lines"),
        ("journal.import", {"lines": ["[]"]}, "no event of an export"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(system, data_dir, op, options, told):
    with pytest.raises(ControlError, match=told):
        control_request(data_dir, op, **options)


def test_a_system_that_does_not_know_how_is_to_be_stopped_first(
    run, journal, data_dir, export, monkeypatch
):
    older = ControlSocket(data_dir / "control.sock")
    older.start()
    try:
        with pytest.raises(JournalBusy, match="stop it first"):
            run("import", export("notes", 1))
    finally:
        older.stop()
