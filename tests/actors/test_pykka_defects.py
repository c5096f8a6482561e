"""What Pykka gets wrong: each of these fails with `pykka.ThreadingActor` as `BASE`."""

from __future__ import annotations

import threading
from typing import Any

import pykka
import pytest

import understudy.actors as us

BASE = us.Actor
WAIT = 5.0

pytestmark = pytest.mark.usefixtures("standalone")


class Echo(BASE):
    def on_receive(self, message):
        return message


def test_an_ask_that_races_stop_always_resolves():
    for _ in range(200):
        ref = Echo.start()
        go = threading.Barrier(2)
        futures: list[Any] = []

        def ask(ref=ref, go=go, futures=futures):
            go.wait(WAIT)
            futures.extend(ref.ask(number, block=False) for number in range(10))

        thread = threading.Thread(target=ask)
        thread.start()
        go.wait(WAIT)
        ref.stop(block=False)
        thread.join(WAIT)
        for future in futures:
            try:
                future.get(timeout=WAIT)
            except pykka.ActorDeadError:
                pass


def test_an_asker_is_answered_when_the_handler_exits():
    class Exits(BASE):
        def on_receive(self, message):
            raise SystemExit

    with pytest.raises(pykka.ActorDeadError):
        Exits.start().ask("go", timeout=WAIT)


def test_stop_need_not_wait_behind_the_backlog():
    class Slow(BASE):
        def __init__(self, entered, leave):
            super().__init__()
            self.entered, self.leave = entered, leave

        def on_receive(self, message):
            self.entered.set()
            self.leave.wait(WAIT)

    entered, leave = threading.Event(), threading.Event()
    ref = Slow.start(entered, leave)
    for _ in range(1000):
        ref.tell("work")
    assert entered.wait(WAIT)
    stopped = ref.stop(block=False, now=True)
    leave.set()
    assert stopped.get(timeout=WAIT) is True


def test_more_actors_than_the_machine_has_threads():
    refs = [Echo.start() for _ in range(2000)]
    before = threading.active_count()
    assert [ref.ask(number) for number, ref in enumerate(refs)] == list(range(2000))
    assert before < 100


def test_a_proxy_outlives_nothing_it_should_not(room):
    class Counts(us.Actor):
        def __init__(self):
            super().__init__()
            self.count = 0

        def add(self):
            self.count += 1
            return self.count

        def fail(self):
            raise ValueError

    ref = room.spawn(Counts)
    proxy = ref.proxy()
    assert proxy.add().get() == 1
    proxy.fail.defer()
    room.guardian.wait_for("started")
    assert proxy.add().get() == 1  # today's incarnation, not the one the proxy was made of


def test_awaiting_a_future_does_not_block_the_loop():
    import asyncio

    class Slow(BASE):
        def on_receive(self, event):
            return event.wait(WAIT)

    async def main():
        event = threading.Event()
        ref = Slow.start()
        answer = ref.ask(event, block=False)
        asyncio.get_running_loop().call_soon(event.set)  # runs only if awaiting lets it
        return await answer

    assert asyncio.run(main()) is True
