"""What actors, refs, futures, exits and gates show of themselves, and the names of Pykka's."""

from __future__ import annotations

import copy
import pickle
import queue
import threading
from typing import Any

import pykka
import pytest
from pykka._envelope import Envelope

import understudy.actors as us
from understudy.actors._gate import Gate

WAIT = 5.0


class Echo(us.Actor):
    def on_receive(self, message):
        if message == "self":
            return {
                "urn": self.actor_urn,
                "stopped": self.actor_stopped.is_set(),
                "empty": self.actor_inbox.empty(),
                "text": str(self),
                "incarnation": self.context.incarnation,
                "current": self.context.current,
                "path": self.context.path,
                "parent": self.context.parent,
                "children": self.context.children,
            }
        if message == "future":
            return self._create_future()
        return message


def test_an_actor_knows_the_names_pykka_gives_it(standalone):
    ref = Echo.start()
    seen = ref.ask("self", timeout=WAIT)
    assert seen["urn"] == ref.actor_urn
    assert seen["urn"] in seen["text"]
    assert (seen["stopped"], seen["empty"]) == (False, True)
    assert (seen["incarnation"], seen["current"]) == (1, True)
    assert (seen["path"], seen["parent"], seen["children"]) == (ref.path, None, ())
    assert ref.stop()
    assert ref.actor_stopped.is_set()


def test_an_actor_made_by_calling_its_class_has_a_ref(standalone):
    actor = Echo()
    assert isinstance(actor.actor_ref, us.ActorRef)
    assert actor.actor_ref.actor_class is Echo


def test_a_ref_is_copied_as_itself_and_pickled_as_its_path(standalone):
    ref = Echo.start()
    assert copy.copy(ref) is ref
    assert copy.deepcopy([ref])[0] is ref
    assert pickle.loads(pickle.dumps(ref)) is ref  # noqa: S301 - made one line above
    assert ref.path in repr(ref)
    data = pickle.dumps(ref)
    assert ref.stop()
    with pytest.raises(us.ActorDeadError, match=ref.path):
        pickle.loads(data)  # noqa: S301 - made three lines above


def test_the_inbox_takes_pykkas_envelopes(standalone):
    ref = Echo.start()
    answer: pykka.ThreadingFuture[Any] = pykka.ThreadingFuture()
    ref.actor_inbox.put(Envelope("x", reply_to=answer))
    assert answer.get(timeout=WAIT) == "x"
    ref.actor_inbox.put(Envelope("told"))
    assert ref.ask("barrier", timeout=WAIT) == "barrier"
    with pytest.raises(NotImplementedError, match="dispatcher"):
        ref.actor_inbox.get()
    assert ref.stop()


def test_the_inbox_passes_the_error_of_a_dead_actor_on(standalone):
    ref = Echo.start()
    assert ref.stop()
    answer: pykka.ThreadingFuture[Any] = pykka.ThreadingFuture()
    ref.actor_inbox.put(Envelope("x", reply_to=answer))
    with pytest.raises(pykka.ActorDeadError):
        answer.get(timeout=WAIT)


@pytest.mark.parametrize(
    "reason",
    [
        us.Exit.NORMAL,
        us.Exit.SHUTDOWN,
        us.Exit.KILLED,
        us.Failed(None),
        us.RestartLimit(None),
    ],
)
def test_exits_are_values(reason):
    again = pickle.loads(pickle.dumps(reason))  # noqa: S301 - made in this line
    assert again == reason
    assert hash(again) == hash(reason)
    assert type(again) is type(reason)
    assert reason != "something else"
    with pytest.raises(AttributeError, match="frozen"):
        reason.kind = "other"


def test_exits_print_their_cause():
    cause = ValueError("x")
    assert repr(us.Exit.NORMAL) == "Exit.NORMAL"
    assert repr(us.Failed(cause)) == "Failed(ValueError('x'))"
    assert us.Failed(cause) != us.Failed(ValueError("x"))


def test_futures_print_their_state():
    waiting, kept, failed = us.Future(), us.Future(), us.Future()
    kept.set(3)
    failed.set_exception(ValueError("x"))
    assert [repr(future) for future in (waiting, kept, failed)] == [
        "<pykka.Future>",
        "<pykka.Future value=3>",
        "<pykka.Future error=ValueError('x')>",
    ]


def test_a_future_is_set_once():
    future = us.Future()
    future.set(1)
    with pytest.raises(queue.Full):
        future.set(2)
    with pytest.raises(queue.Full):
        future.set_exception(ValueError())
    with pytest.raises(queue.Full):
        future.set_get_hook(lambda timeout: timeout)
    assert not future.cancel()
    assert future.get() == 1


def test_a_future_takes_the_exception_being_handled():
    future = us.Future()
    try:
        raise ValueError("x")
    except ValueError:
        future.set_exception()
    assert isinstance(future.exception(), ValueError)
    with pytest.raises(ValueError, match="x"):
        future.get()


def test_a_hooked_future_resolves_once_somebody_calls_back():
    future = us.Future()
    future.set_get_hook(lambda timeout: "made")
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    future.add_done_callback(lambda done: seen.put(done.get()))
    assert seen.get(timeout=WAIT) == "made"


def test_a_hook_that_raises_fails_the_future():
    future = us.Future()
    future.set_get_hook(lambda timeout: 1 / 0)
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    future.add_done_callback(lambda done: seen.put(done.exception()))
    assert isinstance(seen.get(timeout=WAIT), ZeroDivisionError)


def test_a_foreign_future_is_joined_with_ours():
    theirs: pykka.Future[Any] = pykka.ThreadingFuture()
    ours: us.Future[Any] = us.Future()
    joined = ours.join(theirs)
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    joined.add_done_callback(lambda done: seen.put(done.get()))
    ours.set(1)
    theirs.set(2)
    assert seen.get(timeout=WAIT) == [1, 2]


def test_waiting_for_a_value_in_vain_is_a_timeout_and_no_exception_of_it():
    with pytest.raises(us.Timeout):
        us.Future().exception(timeout=0.0)


def test_a_gate_lets_everybody_pass_in_order():
    gate = Gate()
    seen = []
    gate.add_done_callback(lambda error: seen.append(("first", error)))
    gate.add_done_callback(
        lambda error: gate.add_done_callback(lambda _: seen.append(("late", error)))
    )
    gate.add_done_callback(lambda error: seen.append(("second", error)))
    assert not gate.passed
    gate.settle(None)
    assert gate.passed
    gate.add_done_callback(lambda error: seen.append(("after", error)))
    assert seen == [("first", None), ("second", None), ("late", None), ("after", None)]


def test_a_broken_gate_says_why_and_one_who_stumbles_stops_nobody(caplog):
    gate = Gate()
    passed = threading.Event()
    why = []
    gate.add_done_callback(lambda error: 1 / 0)
    gate.add_done_callback(lambda error: (why.append(error), passed.set()))
    broken = OSError("disk")
    gate.settle(broken)
    assert passed.is_set()
    assert why == [broken]
    assert "waited for a commit failed" in caplog.text
