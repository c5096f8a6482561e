"""The public contract: names, parameters, defaults, fields and error types as they are promised.

What stands here may gain parameters behind those named; it may not lose or rename one, move a
positional one, or change a default.
"""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from dataclasses import dataclass, fields
from typing import Any

import pykka
import pytest
from starlette.applications import Starlette

import understudy as us

NO = inspect.Parameter.empty

# What is called, and its parameters in order with their defaults. Behind "*" they go by name.
CALLS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ActorSystem": (
        us.ActorSystem,
        {"name": NO, "*": None, "config": None, "data_dir": None, "clock": None, "metrics": False},
    ),
    "system.spawn": (
        us.ActorSystem.spawn,
        {
            "cls": NO,
            "*": None,
            "name": None,
            "restart": us.Restart.TRANSIENT,
            "dispatcher": None,
            "mailbox": None,
            "persistence_id": None,
        },
    ),
    "system.tell": (us.ActorSystem.tell, {"path": NO, "message": NO}),
    "system.lookup": (us.ActorSystem.lookup, {"path": NO}),
    "system.tree": (us.ActorSystem.tree, {}),
    "system.stats": (us.ActorSystem.stats, {}),
    "system.mount": (us.ActorSystem.mount, {"spec": NO, "before": "user"}),
    "system.stop": (us.ActorSystem.stop, {"timeout": None}),
    "ref.tell": (us.ActorRef.tell, {"message": NO}),
    "ref.ask": (us.ActorRef.ask, {"message": NO, "*": None, "block": True, "timeout": None}),
    "ref.ask_async": (us.ActorRef.ask_async, {"message": NO, "*": None, "timeout": None}),
    "ref.stop": (
        us.ActorRef.stop,
        {"*": None, "block": True, "timeout": None, "now": False},
    ),
    "ref.is_alive": (us.ActorRef.is_alive, {}),
    "ref.proxy": (us.ActorRef.proxy, {}),
    "future.get": (us.Future.get, {"*": None, "timeout": None}),
    "intercept": (
        us.intercept,
        {
            "*": None,
            "before": None,
            "after": None,
            "on_error": None,
            "timeout": None,
            "retries": 0,
        },
    ),
    "Mailbox": (us.Mailbox, {"capacity": None, "overflow": "block"}),
    "context.watch": (us.Context.watch, {"ref": NO}),
    "context.unwatch": (us.Context.unwatch, {"ref": NO}),
    "context.schedule_once": (us.Context.schedule_once, {"delay": NO, "message": NO, "to": None}),
    "context.schedule_every": (
        us.Context.schedule_every,
        {"interval": NO, "message": NO, "to": None},
    ),
    "context.heartbeat": (us.Context.heartbeat, {"lease": None}),
    "Heartbeat": (
        us.Heartbeat,
        {
            "timeout": 4.0,
            "interval": None,
            "on_frozen": "restart",
            "lease": None,
            "hard_limit": None,
        },
    ),
    **{
        strategy.__name__: (
            strategy,
            {"intensity": 3, "period": 5.0, "budget": "supervisor", "backoff": None},
        )
        for strategy in (us.OneForOne, us.OneForAll, us.RestForOne)
    },
    "Backoff": (us.Backoff, {"first": 0.1, "factor": 2.0, "maximum": 30.0, "jitter": 0.2}),
    "start_child": (us.Supervisor.start_child, {"spec": NO}),
    "terminate_child": (us.Supervisor.terminate_child, {"id": NO}),
    "restart_child": (us.Supervisor.restart_child, {"id": NO}),
    "delete_child": (us.Supervisor.delete_child, {"id": NO}),
    "which_children": (us.Supervisor.which_children, {}),
    "count_children": (us.Supervisor.count_children, {}),
    "dynamic start_child": (
        us.DynamicSupervisor.start_child,
        {"cls": NO, "*": None, "name": None, "restart": us.Restart.TRANSIENT},
    ),
    "NewEvent": (
        us.NewEvent,
        {
            "type": NO,
            "payload": None,
            "id": None,
            "metadata": None,
            "priority": "normal",
            "topics": (),
            "version": 1,
        },
    ),
    "Journal.open": (us.Journal.open, {"path": NO, "durability": "sync"}),
    "Journal.in_memory": (us.Journal.in_memory, {}),
    **{
        f"journal.{call.__name__}": (
            call,
            {"stream": NO, "events": NO, "expected_seq": None, "epoch": None},
        )
        for call in (us.Journal.append, us.Journal.submit)
    },
    "journal.read": (
        us.Journal.read,
        {
            "stream": NO,
            "after": 0,
            "until_seq": None,
            "types": None,
            "topics": None,
            "since": None,
            "until": None,
            "priority": None,
            "limit": None,
            "reverse": False,
        },
    ),
    "journal.read_all": (us.Journal.read_all, {"after": 0, "types": None}),
    "journal.last_seq": (us.Journal.last_seq, {"stream": NO}),
    "journal.streams": (us.Journal.streams, {}),
    "journal.subscribe": (
        us.Journal.subscribe,
        {"callback": NO, "stream": None, "types": None, "after": 0},
    ),
    "journal.save_snapshot": (us.Journal.save_snapshot, {"stream": NO, "seq": NO, "state": NO}),
    "journal.load_snapshot": (us.Journal.load_snapshot, {"stream": NO, "max_seq": None}),
    "journal.delete_snapshots": (us.Journal.delete_snapshots, {"stream": NO}),
    "journal.truncate": (us.Journal.truncate, {"stream": NO, "before_seq": NO}),
    "journal.delete": (us.Journal.delete, {"stream": NO}),
    "journal.retain": (us.Journal.retain, {}),
    "journal.archive": (us.Journal.archive, {}),
    "journal.backup": (us.Journal.backup, {"path": NO}),
    "journal.verify": (us.Journal.verify, {}),
    "journal.stats": (us.Journal.stats, {}),
    "journal.close": (us.Journal.close, {}),
    "event": (us.event, {"name": NO, "version": 1}),
    "upcaster": (us.upcaster, {"name": NO, "*": None, "from_version": NO}),
    "self.send": (us.PersistentActor.send, {"ref": NO, "message": NO}),
    "self.then": (us.PersistentActor.then, {"call": NO}),
    "self.effect": (
        us.PersistentActor.effect,
        {"channel": NO, "payload": NO, "*": None, "dedupe_key": None},
    ),
    "SessionHost": (us.SessionHost, {"system": NO, "agents": NO}),
    "SessionKey": (us.SessionKey, {"user": NO, "agent": NO, "thread": NO}),
    **{
        f"host.{call.__name__}": (call, {"key": NO, "text": NO, "*": None, "message_id": None})
        for call in (us.SessionHost.send, us.SessionHost.send_async)
    },
    "host.history": (us.SessionHost.history, {"key": NO, "after": 0}),
    "host.effects": (us.SessionHost.effects, {"key": NO, "status": None}),
    "turn.result": (us.Turn.result, {"timeout": None}),
    "turn.effect": (
        us.TurnContext.effect,
        {"channel": NO, "payload": NO, "*": None, "dedupe_key": None},
    ),
    "gateway.app": (us.gateway.app, {"host": NO}),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_what_is_promised(name: str) -> None:
    call, promised = CALLS[name]
    found = {
        key: parameter
        for key, parameter in inspect.signature(call).parameters.items()
        if key != "self" and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    }
    wanted = {key: default for key, default in promised.items() if key != "*"}
    assert {key: found[key].default for key in wanted} == wanted
    positional = list(promised)[: list(promised).index("*")] if "*" in promised else list(wanted)
    assert list(found)[: len(positional)] == positional
    for key in positional:
        assert found[key].kind is not inspect.Parameter.KEYWORD_ONLY, key
    # What was added is optional: a call as promised goes on to work.
    added = [key for key in found if key not in wanted and found[key].default is NO]
    assert not added


def test_a_child_spec_has_the_promised_fields_and_defaults() -> None:
    spec = us.ChildSpec("store", us.Actor)
    assert (spec.id, spec.cls, spec.args) == ("store", us.Actor, ())
    assert dict(spec.kwargs) == {}
    assert spec.restart is us.Restart.PERMANENT
    assert spec.shutdown == 5.0
    assert spec.significant is False
    full = us.ChildSpec(
        "room",
        us.Actor,
        args=(1,),
        kwargs={"a": 2},
        restart=us.Restart.TRANSIENT,
        shutdown=us.Shutdown.BRUTAL,
        significant=True,
    )
    assert (full.args, dict(full.kwargs), full.shutdown) == ((1,), {"a": 2}, us.Shutdown.BRUTAL)


ENUMS = {
    us.Restart: "PERMANENT TRANSIENT TEMPORARY",
    us.Shutdown: "BRUTAL INFINITY",
    us.AutoShutdown: "NEVER ANY_SIGNIFICANT ALL_SIGNIFICANT",
    us.Directive: "RESUME RESTART STOP ESCALATE",
    us.ChildState: "RUNNING STARTING RESTARTING STOPPING STOPPED",
}


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__name__)
def test_an_enumeration_has_the_promised_members(enum: Any) -> None:
    assert {member.name for member in enum} == set(ENUMS[enum].split())


# Fields that are read from what the library gives out.
FIELDS = {
    us.Terminated: "ref reason",
    us.ChildInfo: "id ref state restart",
    us.ChildCounts: "specs active supervisors workers",
    us.DeadLetter: "message recipient sender reason",
    us.ActorStarted: "ref",
    us.ActorFailed: "ref cause",
    us.ActorRestarted: "ref",
    us.ActorStopped: "ref reason",
    us.ActorFrozen: "ref",
    us.ActorBusy: "ref",
    us.DispatcherStarved: "dispatcher",
}


@pytest.mark.parametrize("cls", FIELDS, ids=lambda cls: cls.__name__)
def test_what_is_given_out_has_the_promised_fields(cls: Any) -> None:
    assert set(FIELDS[cls].split()) <= {field.name for field in fields(cls)}


REF = object()
ERRORS = [
    (us.InvalidChildSpec, {"field": "restart", "value": "often"}),
    (us.AlreadyStarted, {"id": "store", "ref": REF}),
    (us.AlreadyPresent, {"id": "store"}),
    (us.ChildNotFound, {"id": "store"}),
    (us.ChildRunning, {"id": "store"}),
    (us.ChildRestarting, {"id": "store"}),
    (us.StartFailed, {"id": "store", "cause": ValueError("no")}),
    (us.MailboxFull, {"message": "hello"}),
]


@pytest.mark.parametrize(("error", "given"), ERRORS, ids=lambda part: getattr(part, "__name__", ""))
def test_an_error_carries_what_it_was_made_of(error: Any, given: dict[str, Any]) -> None:
    made = error(*given.values())
    assert {name: getattr(made, name) for name in given} == given
    assert isinstance(made, us.UnderstudyError)
    assert str(made)


def test_errors_that_pykka_has_are_pykkas_and_ours() -> None:
    assert issubclass(us.ActorDeadError, pykka.ActorDeadError)
    assert issubclass(us.Timeout, pykka.Timeout)
    assert issubclass(us.Timeout, TimeoutError)
    for error in (us.ActorDeadError, us.Timeout, us.AskCycle, us.WrongExpectedSeq):
        assert issubclass(error, us.UnderstudyError)


def test_the_classes_that_pykka_has_are_pykkas() -> None:
    assert issubclass(us.Actor, pykka.Actor)
    assert issubclass(us.ActorRef, pykka.ActorRef)
    assert issubclass(us.ActorProxy, pykka.ActorProxy)
    assert issubclass(us.Future, pykka.Future)


def test_class_attributes_have_their_promised_defaults() -> None:
    assert us.Supervisor.auto_shutdown is us.AutoShutdown.NEVER
    assert us.Supervisor.strategy == us.OneForOne(intensity=3, period=5.0)
    assert dict(us.Supervisor.decider) == {}
    assert us.DynamicSupervisor.max_children is None
    assert us.Agent.resumable is False


@pytest.mark.parametrize(("timeout", "interval"), [(4.0, 2.0), (1.0, 0.5), (60.0, 2.0)])
def test_a_heartbeat_is_looked_for_at_half_its_timeout_at_most_two_seconds(
    timeout: float, interval: float
) -> None:
    assert us.Heartbeat(timeout=timeout).interval == interval
    assert us.Heartbeat(timeout=timeout, interval=0.25).interval == 0.25


def test_exit_reasons_say_what_they_promise() -> None:
    cause = ValueError("no")
    assert us.Exit.Failed(cause).cause is cause
    assert us.Exit.RestartLimit(cause).cause is cause
    assert us.Failed(cause) == us.Exit.Failed(cause)
    assert us.RestartLimit(cause) == us.Exit.RestartLimit(cause)
    reasons = {us.Exit.NORMAL, us.Exit.SHUTDOWN, us.Exit.KILLED, us.Exit.NOT_FOUND}
    assert len(reasons) == 4


class Greeter(us.Actor):
    def __init__(self, greeting: str) -> None:
        super().__init__()
        self.greeting = greeting

    def on_receive(self, message: Any) -> Any:
        return f"{self.greeting}, {message}"

    def greet(self, name: str) -> str:
        return f"{self.greeting}, {name}"


class Fetcher(us.Actor):
    async def on_receive(self, url: Any) -> Any:
        return url


def test_actors_are_used_as_the_contract_shows() -> None:
    with us.ActorSystem("demo") as system:
        ref = system.spawn(Greeter, "Hello", name="greeter")
        ref.tell("Ada")
        assert ref.ask("Ada", timeout=1.0) == "Hello, Ada"
        assert ref.proxy().greet("Ada").get() == "Hello, Ada"
        assert (ref.path, ref.is_alive()) == ("/user/greeter", True)
        assert system.lookup("/user/greeter") == ref
        assert "greeter" in str(system.tree())
        assert system.spawn(Fetcher).ask("url", timeout=5.0) == "url"
        system.tell("/user/greeter", "Ada")
        assert system.stats().messages > 0

        async def asked() -> Any:
            return await ref.ask_async("Ada", timeout=1.0)

        assert asyncio.run(asked()) == "Hello, Ada"
        letters: list[us.DeadLetter] = []
        system.events.subscribe(letters.append, us.DeadLetter)
        ref.stop()
        with pytest.raises(us.ActorDeadError):
            ref.tell("late")
        assert [(letter.message, letter.recipient) for letter in letters] == [("late", ref)]


def test_an_actor_may_subscribe_to_events_by_its_ref() -> None:
    class Listener(us.Actor):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Any] = []

        def on_receive(self, message: Any) -> Any:
            if isinstance(message, us.DeadLetter):
                self.seen.append(message.message)
            return self.seen

    with us.ActorSystem("demo") as system:
        listener = system.spawn(Listener)
        system.events.subscribe(listener, us.DeadLetter)
        gone = system.spawn(Greeter, "Hello")
        gone.stop()
        with pytest.raises(us.ActorDeadError):
            gone.tell("late")
        assert listener.ask("?", timeout=5.0) == ["late"]


def test_supervisors_are_used_as_the_contract_shows() -> None:
    class Chat(us.Supervisor):
        strategy = us.OneForAll(
            intensity=3,
            period=5.0,
            budget="supervisor",
            backoff=us.Backoff(first=0.1, factor=2.0, maximum=30.0, jitter=0.2),
        )
        auto_shutdown = us.AutoShutdown.NEVER
        decider = {ValueError: us.Directive.RESUME}

        def children(self) -> list[us.ChildSpec]:
            return [
                us.ChildSpec("store", Greeter, args=("Hello",), kwargs={}, shutdown=5.0),
                us.ChildSpec(
                    "room",
                    Greeter,
                    args=("Hi",),
                    restart=us.Restart.TRANSIENT,
                    shutdown=us.Shutdown.BRUTAL,
                ),
            ]

    with us.ActorSystem("demo") as system:
        admin = system.spawn(Chat, name="chat").proxy()
        assert [info.id for info in admin.which_children().get()] == ["room", "store"]
        assert admin.count_children().get() == us.ChildCounts(2, 2, 0, 2)
        ref = admin.start_child(us.ChildSpec("third", Greeter, args=("Hey",))).get()
        assert ref.path == "/user/chat/third"
        for call, error in [
            (lambda: admin.start_child(us.ChildSpec("third", Greeter)), us.AlreadyStarted),
            (lambda: admin.restart_child("third"), us.ChildRunning),
            (lambda: admin.delete_child("third"), us.ChildRunning),
            (lambda: admin.terminate_child("nobody"), us.ChildNotFound),
        ]:
            with pytest.raises(error):
                call().get(timeout=5.0)
        admin.terminate_child("third").get(timeout=5.0)
        with pytest.raises(us.AlreadyPresent):
            admin.start_child(us.ChildSpec("third", Greeter)).get(timeout=5.0)
        info = next(i for i in admin.which_children().get() if i.id == "third")
        assert (info.ref, info.state) == (None, us.ChildState.STOPPED)


def test_the_journal_is_used_as_the_contract_shows() -> None:
    with us.Journal.in_memory() as journal:
        made = us.NewEvent("deposited", {"amount": 5})
        result = journal.append("account:ada", [made], expected_seq=0)
        assert (result.first_seq, result.last_seq, result.position) == (1, 1, 1)
        with pytest.raises(us.WrongExpectedSeq):
            journal.append("account:ada", [us.NewEvent("deposited", 1)], expected_seq=0)
        assert journal.submit("account:ada", [us.NewEvent("other")]).result(timeout=5).last_seq == 2
        record = next(iter(journal.read("account:ada", after=0, until_seq=1)))
        names = "position stream seq type version timestamp id payload metadata priority"
        assert [getattr(record, name, NO) is not NO for name in names.split()] == [True] * 10
        assert record.timestamp.utcoffset() is not None
        assert [r.seq for r in journal.read("account:ada", reverse=True, limit=1)] == [2]
        assert [r.position for r in journal.read_all(after=1)] == [2]


def test_events_and_persistent_actors_are_used_as_the_contract_shows() -> None:
    @us.event("contract.deposited", version=1)
    @dataclass(frozen=True)
    class Deposited:
        amount: int

    class Account(us.PersistentActor):
        snapshot_every = 1000

        def __init__(self) -> None:
            super().__init__()
            self.balance = 0

        def apply(self, event: Any) -> None:
            self.balance += event.amount

        def deposit(self, amount: int) -> int:
            if amount <= 0:
                raise ValueError("amount must be positive")
            self.persist(Deposited(amount))
            return self.balance

        def snapshot(self) -> Any:
            return self.balance

        def restore(self, state: Any) -> None:
            self.balance = state

        def look(self) -> tuple[bool, int]:
            return self.recovering, self.last_seq

    with us.ActorSystem("bank") as system:
        account = system.spawn(Account, persistence_id="account:ada").proxy()
        assert account.deposit(5).get(timeout=5.0) == 5
        assert account.look().get(timeout=5.0) == (False, 1)
        with pytest.raises(ValueError, match="positive"):
            account.deposit(0).get(timeout=5.0)
    assert callable(us.PersistentActor.on_recovered)


def test_sessions_are_used_as_the_contract_shows() -> None:
    class Echo(us.Agent):
        async def respond(self, message: Any, turn: Any) -> Any:
            assert (turn.cancelled, str(turn.session)) == (False, "ada:echo:t1")
            assert turn.deadline is None or turn.deadline > 0
            for word in message.text.split():
                yield word + " "
            turn.effect("webhook", {"url": "x"}, dedupe_key="order-17")

    with us.ActorSystem("office") as system:
        host = us.SessionHost(system, agents={"echo": Echo})
        key = us.SessionKey("ada", "echo", "t1")
        assert str(key) == "ada:echo:t1"
        turn = host.send(key, "hello there", message_id="m1")
        assert turn.result(timeout=5.0) == "hello there "
        assert host.history(key, after=0)
        [effect] = host.effects(key, status=None)
        assert (effect.channel, effect.dedupe_key) == ("webhook", "order-17")

        async def awaited() -> Any:
            turn = await host.send_async(key, "and again", message_id="m2")
            frames = [frame async for frame in turn]
            return await turn, frames

        answer, frames = asyncio.run(awaited())
        assert answer == "and again "
        assert frames
        assert isinstance(us.gateway.app(host), Starlette)


@pytest.mark.parametrize(
    "command",
    [
        ["serve", "--help"],
        ["tree", "--help"],
        *(
            ["journal", name, "--help"]
            for name in "ls tail replay stats export backup verify prune".split()
        ),
        ["config", "show", "--help"],
        ["bench", "--help"],
    ],
    ids=lambda parts: " ".join(parts[:-1]),
)
def test_the_command_has_the_promised_parts(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "understudy.cli", *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: understudy " + " ".join(command[:-1]) in done.stdout
