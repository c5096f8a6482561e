"""What must hold whatever comes between two lines of whoever runs an actor."""

from __future__ import annotations

import contextvars
import threading
from typing import Any

import pytest

import understudy.actors as us
from understudy.actors import ActorRef
from understudy.actors._dispatcher import THROUGHPUT, Dispatcher
from understudy.actors._pool import Worker
from understudy.actors._strand import INLINE_DEPTH, local, strand_here
from understudy.actors._work import serve_ready

WAIT = 10.0


@pytest.fixture(autouse=True)
def fresh_strand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of the test is a plain one: an event loop that ran here left its strand."""
    monkeypatch.setattr(local, "strand", None)


class Log(us.Actor):
    """Keeps what it is sent; a function it is sent is called with it instead."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.seen.append(message)
        return len(self.seen)


class ByHand(Dispatcher):
    """A dispatcher whose threads the test plays: it only notes who is submitted, and when."""

    inline = True

    def __init__(self, room: Any, way: str, throughput: int) -> None:
        super().__init__(room.runtime, "by hand", throughput)
        self.way = way
        self.noted: list[bool] = []

    def look_after(self) -> None:
        """Note whether the actor was free to be claimed."""
        self.noted.append(self.ready.pop()._us_owner is None)

    def serve(self, ref: ActorRef[Any]) -> None:
        """Run the actor as a strand of any kind does, or as a worker of a pool."""
        if self.way == "strand":
            ref._us_run(strand_here())
            return
        local.strand = worker = Worker(self.runtime.dispatchers["pool"], 0)
        self.ready.append(ref)
        serve_ready(self, worker)  # type: ignore[arg-type]  # all it needs of a pool


@pytest.fixture(params=["strand", "worker"])
def way(request: pytest.FixtureRequest) -> str:
    """Which of the two loops serves the actor."""
    return str(request.param)


class Mailbox(list[Any]):
    """A mailbox where something happens as soon as its owner has found it empty."""

    def __init__(self, happens: Any) -> None:
        super().__init__()
        self.happens = happens

    def __len__(self) -> int:
        count = super().__len__()
        happens, self.happens = self.happens, self.happens if count else None
        if not count and happens is not None:
            on_another_thread(happens)
        return count


def on_another_thread(call: Any) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()


def take_over(
    room: Any, ref: ActorRef[Any], way: str = "strand", throughput: int = THROUGHPUT
) -> ByHand:
    """From here on nobody runs the actor but the test, by `serve`."""
    assert room.runtime.wait_quiet(WAIT) == []
    ref._us_home = hand = ByHand(room, way, throughput)
    return hand


def seen_by(ref: ActorRef[Any]) -> Any:
    return ref._us_actor.seen


def test_a_message_that_comes_as_the_mailbox_is_found_empty_is_not_left_lying(
    room: Any, way: str
) -> None:
    ref = room.spawn(Log)
    hand = take_over(room, ref, way)
    ref._us_queue = Mailbox(lambda: ref.tell("second"))
    ref.tell("first")
    hand.noted.clear()
    hand.serve(ref)
    assert seen_by(ref) == ["first"]
    assert hand.noted == [True]  # whoever comes now may claim it, and finds the second one
    hand.serve(ref)
    assert seen_by(ref) == ["first", "second"]


def test_an_order_that_comes_as_the_mailbox_is_found_empty_is_not_left_lying(
    room: Any, way: str
) -> None:
    ref = room.spawn(Log)
    hand = take_over(room, ref, way)
    stopped: list[Any] = []
    ref._us_queue = Mailbox(lambda: stopped.append(ref.stop(block=False, now=True)))
    ref.tell("first")
    hand.serve(ref)
    if ref.is_alive():  # it came too late for this turn
        assert hand.noted[-1]  # submitted once more after it was let go
        hand.serve(ref)
    assert stopped[0].get(timeout=WAIT) is True


def test_a_message_that_comes_during_an_inline_ask_is_not_left_lying(room: Any) -> None:
    ref = room.spawn(Log)
    assert room.runtime.wait_quiet(WAIT) == []

    def meanwhile(actor: Log) -> int:
        on_another_thread(lambda: ref.tell("second"))
        return threading.get_ident()

    assert ref.ask(meanwhile) == threading.get_ident()
    assert room.runtime.wait_quiet(WAIT) == []
    assert seen_by(ref) == ["second"]


def test_an_actor_that_somebody_runs_is_left_alone_by_whoever_comes_for_it_too(
    room: Any, way: str
) -> None:
    ref = room.spawn(Log)
    hand = take_over(room, ref, way)

    def meanwhile(actor: Log) -> list[Any]:
        ref.tell("second")
        on_another_thread(lambda: hand.serve(ref))
        return list(actor.seen)

    assert ref.ask(meanwhile) == []
    hand.serve(ref)
    assert seen_by(ref) == ["second"]


def test_an_inline_ask_does_not_overtake_a_message_whose_sender_has_not_woken_anybody(
    room: Any,
) -> None:
    ref = room.spawn(Log)
    assert room.runtime.wait_quiet(WAIT) == []
    ref._us_queue.append("before")
    assert ref.ask(lambda actor: list(actor.seen)) == ["before"]


def test_an_actor_is_not_closed_as_idle_with_a_message_in_its_mailbox(room: Any) -> None:
    ref = room.spawn(Log)
    assert room.runtime.wait_quiet(WAIT) == []
    ref._us_queue.append("late")  # a sender that has not looked yet whether it must wake anybody
    assert not ref._us_close_idle(us.Exit.SHUTDOWN)
    assert room.runtime.wait_quiet(WAIT) == []
    assert seen_by(ref) == ["late"]
    assert ref._us_close_idle(us.Exit.SHUTDOWN)
    assert not ref.is_alive()


@pytest.mark.parametrize("capacity", [None, 10])
def test_an_actor_that_always_has_something_to_do_gives_its_thread_away(
    room: Any, way: str, capacity: int | None
) -> None:
    ref = room.spawn(Log, mailbox=None if capacity is None else us.Mailbox(capacity=capacity))
    hand = take_over(room, ref, way)

    def again(actor: Log) -> None:
        actor.seen.append("turn")
        if len(actor.seen) < 3 * THROUGHPUT:
            actor.actor_ref.tell(again)

    ref.tell(again)
    hand.noted.clear()
    hand.serve(ref)
    assert len(seen_by(ref)) == THROUGHPUT
    assert hand.noted == [True]


@pytest.mark.parametrize("waiting", [4, 7, 8, 9, 20, 3000])
def test_others_get_a_turn_after_as_many_messages_as_the_dispatcher_says(
    room: Any, way: str, waiting: int
) -> None:
    ref = room.spawn(Log)
    hand = take_over(room, ref, way, throughput=7)
    for number in range(waiting):
        ref.tell(number)
    for turn in range(1, waiting // 7 + 2):
        hand.noted.clear()
        hand.serve(ref)
        handled = min(7 * turn, waiting)
        assert seen_by(ref) == list(range(handled))
        assert hand.noted == [True] or handled == waiting


def test_context_variables_set_while_an_asker_serves_its_future_stay_the_actors(room: Any) -> None:
    variable = contextvars.ContextVar("variable", default="nothing")

    def put(actor: Log) -> str:
        before = variable.get()
        variable.set("mine")
        return before

    ref = room.spawn(Log)
    take_over(room, ref)
    for before in ("nothing", "mine"):
        assert ref.ask(put, block=False).get() == before
    assert variable.get() == "nothing"


def test_no_more_actors_than_the_bound_run_on_top_of_each_other(room: Any) -> None:
    class Chain(us.Actor):
        def __init__(self, below: ActorRef[Any] | None) -> None:
            super().__init__()
            self.below = below

        def on_receive(self, message: Any) -> Any:
            below = [] if self.below is None else self.below.ask(message)
            return [threading.get_ident(), *below]

    ref = None
    for _ in range(3 * INLINE_DEPTH):
        ref = room.spawn(Chain, ref)
    assert ref is not None
    assert room.runtime.wait_quiet(WAIT) == []
    threads = ref.ask("who")
    assert len(threads) == 3 * INLINE_DEPTH
    # The first on a thread of its own is not on top of any other.
    assert max(threads.count(thread) for thread in threads) <= INLINE_DEPTH + 1


def test_under_a_deadline_what_a_handler_asks_is_not_run_on_its_thread(room: Any) -> None:
    inner = room.spawn(Log)
    outer = room.spawn(Log)
    assert room.runtime.wait_quiet(WAIT) == []

    def who(_: Log) -> int:
        return threading.get_ident()

    mine, others = outer.ask(lambda _: (threading.get_ident(), inner.ask(who)), timeout=WAIT)
    assert mine != others
    mine, others = outer.ask(lambda _: (threading.get_ident(), inner.ask(who)))
    assert mine == others == threading.get_ident()


# --- a long mailbox is served in batches --------------------------------------------------------


@pytest.fixture
def long(room: Any) -> Any:
    """Lets `first` be handled with twenty messages behind it: gives the actor, and lets it go."""
    entered, go = threading.Event(), threading.Event()

    def make(*messages: Any) -> ActorRef[Any]:
        def hold(_: Log) -> None:
            entered.set()
            assert go.wait(WAIT)

        ref: ActorRef[Any] = room.spawn(Log)
        ref.tell(hold)
        assert entered.wait(WAIT)
        for message in (*messages, *range(20)):
            ref.tell(message)
        return ref

    make.go = go.set  # type: ignore[attr-defined]  # a function with one thing more to say
    yield make
    go.set()


def test_an_ask_that_was_given_up_is_not_handled_in_a_batch_either(room: Any, long: Any) -> None:
    ref = long("before")
    given_up, wanted = ref.ask("given up", block=False), ref.ask("wanted", block=False)
    assert given_up.cancel()
    long.go()
    assert wanted.get(timeout=WAIT) == 22
    assert seen_by(ref) == ["before", *range(20), "wanted"]


def test_a_stop_now_in_the_middle_of_a_batch_comes_before_the_rest_of_it(
    room: Any, long: Any
) -> None:
    handled: list[Any] = []
    stopped: list[Any] = []

    def stop(actor: Log) -> None:
        ref = actor.actor_ref
        on_another_thread(lambda: stopped.append(ref.stop(block=False, now=True)))
        handled.extend(actor.seen)
        actor.seen = handled

    ref = long("before", stop)
    long.go()
    assert room.guardian.wait_for("closed")
    assert stopped[0].get(timeout=WAIT) is True
    assert handled == ["before"]
    assert not ref.is_alive()


def test_what_is_unstashed_comes_before_the_rest_of_the_batch(room: Any, long: Any) -> None:
    def stash_me(actor: Log) -> None:
        if "stashed" in actor.seen:
            actor.seen.append("again")
            return
        actor.seen.append("stashed")
        actor.context.stash()

    ref = long(stash_me, lambda actor: actor.context.unstash_all())
    long.go()
    assert room.runtime.wait_quiet(WAIT) == []
    assert seen_by(ref) == ["stashed", "again", *range(20)]


def test_ctrl_c_in_a_batch_costs_nothing_but_the_message_it_struck(
    room: Any, quiet_log: Any
) -> None:
    ref = room.spawn(Log)
    hand = take_over(room, ref)
    room.guardian.on["failed"] = lambda ref, incarnation, failure: ref._us_resume()

    def struck(_: Log) -> None:
        raise KeyboardInterrupt

    for message in ("before", struck, *range(20)):
        ref.tell(message)
    with pytest.raises(KeyboardInterrupt):
        hand.serve(ref)
    assert hand.noted[-1]
    hand.serve(ref)
    assert seen_by(ref) == ["before", *range(20)]


# --- fenced ------------------------------------------------------------------------------------


def frozen(room: Any, *, then: Any, ask: bool) -> tuple[ActorRef[Any], Any, threading.Event]:
    """An actor whose handler stood still and was replaced; `then` is what it does afterwards."""
    entered, go = threading.Event(), threading.Event()

    def stand_still(actor: Log) -> Any:
        entered.set()
        assert go.wait(WAIT)
        return then(actor)

    ref = room.spawn(Log)
    answer = ref.ask(stand_still, block=False) if ask else ref.tell(stand_still)
    assert entered.wait(WAIT)
    (running,) = [line for line in room.runtime.running() if line.ref is ref]
    assert ref._us_fence(running.turn)
    ref._us_begin()
    assert ref.ask("new", timeout=WAIT) == 1
    return ref, answer, go


@pytest.mark.parametrize("ask", [True, False])
def test_what_a_replaced_handler_raises_is_no_failure_of_its_successor(
    room: Any, ask: bool
) -> None:
    def fail(_: Log) -> None:
        raise ValueError("too late")

    ref, answer, go = frozen(room, then=fail, ask=ask)
    go.set()
    room.until_no_zombies()
    assert ref.ask("still here", timeout=WAIT) == 2
    assert ref.incarnation == 2
    assert [entry for entry in room.guardian.told if entry[0] == "failed"] == []
    assert room.runtime.stats().refused >= 1
    if answer is not None:
        with pytest.raises(us.ActorDeadError, match="replaced"):
            answer.get(timeout=WAIT)


def test_what_a_replaced_handler_answers_is_refused_and_counted(room: Any) -> None:
    _, answer, go = frozen(room, then=lambda _: "too late", ask=True)
    assert room.runtime.stats().refused == 0
    go.set()
    room.until_no_zombies()
    assert room.runtime.stats().refused == 1
    with pytest.raises(us.ActorDeadError, match="replaced"):
        answer.get(timeout=WAIT)


def test_a_failure_told_of_an_earlier_incarnation_does_not_touch_this_one(room: Any) -> None:
    ref, _, go = frozen(room, then=lambda _: None, ask=False)
    go.set()
    ref._us_fail(ValueError("of the first one"), incarnation=1)
    assert ref.ask("two", timeout=WAIT) == 2
    assert ref.incarnation == 2


def test_an_ask_at_work_fails_when_its_actor_is_closed_for_good(room: Any) -> None:
    entered, go = threading.Event(), threading.Event()

    def stand_still(_: Log) -> str:
        entered.set()
        assert go.wait(WAIT)
        return "too late"

    ref = room.spawn(Log)
    answer = ref.ask(stand_still, block=False)
    assert entered.wait(WAIT)
    ref._us_close(us.Exit.KILLED)
    with pytest.raises(us.ActorDeadError):
        answer.get(timeout=WAIT)
    go.set()
    room.until_no_zombies()


# --- accounts ----------------------------------------------------------------------------------


def test_a_letter_that_reaches_a_dead_reader_makes_no_letter_of_its_own(room: Any) -> None:
    letters: list[Any] = []
    entered, go = threading.Event(), threading.Event()

    def hold(_: Log) -> None:
        entered.set()
        assert go.wait(WAIT)

    reader = room.spawn(Log)
    room.runtime.stream.subscribe(reader, us.DeadLetter)
    room.runtime.stream.subscribe(letters.append, us.DeadLetter)
    dead = room.spawn(Log)
    dead.stop(timeout=WAIT)
    reader.tell(hold)
    assert entered.wait(WAIT)
    with pytest.raises(us.ActorDeadError):
        dead.tell("nobody reads this")
    assert room.runtime.stats().dead_letters == 1
    reader._us_close(us.Exit.KILLED)
    go.set()
    room.until_no_zombies()
    assert [letter.message for letter in letters] == ["nobody reads this"]


def test_only_the_newest_watch_of_an_actor_is_told_of_its_end(room: Any) -> None:
    entered, go = threading.Event(), threading.Event()
    target = room.spawn(Log)

    def hold_then_watch_anew(actor: Log) -> None:
        actor.context.watch(target)
        entered.set()
        assert go.wait(WAIT)
        actor.context.unwatch(target)  # its end waits in the mailbox by now
        actor.context.watch(target)

    watcher = room.spawn(Log)
    watcher.tell(hold_then_watch_anew)
    assert entered.wait(WAIT)
    target.stop(timeout=WAIT)
    go.set()
    assert room.runtime.wait_quiet(WAIT) == []
    assert [notice.reason for notice in seen_by(watcher)] == [us.Exit.NOT_FOUND]


def test_an_actor_that_stops_itself_by_its_proxy_ends_normally(room: Any) -> None:
    class Stops(us.Actor):
        def end(self) -> None:
            self.actor_ref.proxy().stop()

    for call in (lambda ref: ref.proxy().end(), lambda ref: ref.proxy().stop()):
        ref = room.spawn(Stops)
        call(ref)
        assert ref._us_rt.wait_quiet(WAIT) == []
    reasons = [entry[2] for entry in room.guardian.wait_for("ended", 2)]
    assert reasons[0] == us.Exit.NORMAL
    assert reasons[0] is not reasons[1]


def test_a_mailbox_with_priorities_is_accounted_for_in_the_order_of_service(room: Any) -> None:
    letters: list[Any] = []
    room.runtime.stream.subscribe(letters.append, us.DeadLetter)
    entered, go = threading.Event(), threading.Event()

    def hold(_: Log) -> None:
        entered.set()
        assert go.wait(WAIT)

    ref = room.spawn(Log, mailbox=us.Mailbox(priority=lambda m: 0 if callable(m) else m))
    ref.tell(hold)
    assert entered.wait(WAIT)
    for number in (5, 3, 8, 1, 9, 2, 7, 4, 6):
        ref.tell(number)
    ref._us_close(us.Exit.KILLED)
    go.set()
    room.until_no_zombies()
    assert [letter.message for letter in letters] == list(range(1, 10))
