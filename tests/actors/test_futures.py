"""Futures: threads, event loops, callbacks, chains."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pykka
import pytest

import understudy.actors as us

WAIT = 5.0


def test_our_future_is_pykkas():
    assert isinstance(us.Future(), pykka.Future)
    assert us.ThreadingFuture is us.Future


def test_a_callback_set_before_and_one_set_after_both_run_once():
    future = us.Future()
    seen = []
    future.add_done_callback(lambda done: seen.append(("before", done.get())))
    future.set(1)
    future.add_done_callback(lambda done: seen.append(("after", done.get())))
    assert seen == [("before", 1), ("after", 1)]


def test_a_callback_that_raises_is_logged_and_hurts_nobody(caplog):
    future = us.Future()
    seen: list[Any] = []
    future.add_done_callback(lambda done: 1 / 0)
    future.add_done_callback(seen.append)
    future.set(1)
    assert seen == [future]
    assert "callback failed" in caplog.text


def test_many_threads_waiting_all_get_the_value():
    future = us.Future()
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(future.get(timeout=WAIT))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    future.set("x")
    for thread in threads:
        thread.join(WAIT)
    assert got == ["x"] * 20


def test_of_two_racing_resolvers_one_wins():
    for _ in range(200):
        future = us.Future()
        start = threading.Barrier(2)
        wins: list[Any] = []

        def resolve(value, future=future, start=start, wins=wins):
            start.wait(WAIT)
            if future._us_resolve(value):
                wins.append(value)

        threads = [threading.Thread(target=resolve, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert wins == [future.get()]


def test_awaiting_does_not_block_the_event_loop():
    async def main():
        future = us.Future()
        ticks = []

        async def tick():
            for number in range(3):
                ticks.append(number)
                await asyncio.sleep(0)
            threading.Thread(target=future.set, args=("done",)).start()

        task = asyncio.ensure_future(tick())
        assert await future == "done"
        await task
        return ticks

    assert asyncio.run(main()) == [0, 1, 2]


def test_a_blocking_get_on_an_event_loop_is_refused_and_names_the_way_out():
    async def main():
        with pytest.raises(us.BlockingAsk, match="ask_async"):
            us.Future().get()

    asyncio.run(main())


def test_a_future_that_is_done_can_be_read_on_an_event_loop():
    async def main():
        future = us.Future()
        future.set(3)
        return future.get()

    assert asyncio.run(main()) == 3


def test_gather_takes_our_futures():
    async def main():
        futures = [us.Future() for _ in range(3)]
        for number, future in enumerate(futures):
            asyncio.get_running_loop().call_soon(future.set, number)
        return await asyncio.gather(*futures)

    assert asyncio.run(main()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("chain", "values", "expected"),
    [
        (lambda a, b: a.map(lambda x: x + 1), (1, None), 2),
        (lambda a, b: a.join(b), (1, 2), [1, 2]),
        (lambda a, b: a.filter(lambda x: x > 1), ([1, 2, 3], None), [2, 3]),
        (lambda a, b: a.reduce(lambda x, y: x + y), ([1, 2, 3], None), 6),
        (lambda a, b: a.map(lambda x: x + 1).map(lambda x: x * 10), (1, None), 20),
    ],
)
def test_chained_futures_can_be_awaited_and_called_back(chain, values, expected):
    async def main():
        one, two = us.Future(), us.Future()
        chained = chain(one, two)
        called = []
        chained.add_done_callback(lambda done: called.append(done.get()))
        loop = asyncio.get_running_loop()
        loop.call_soon(one.set, values[0])
        loop.call_soon(two.set, values[1])
        result = await chained
        return result, called

    assert asyncio.run(main()) == (expected, [expected])


def test_an_exception_goes_through_a_chain():
    one = us.Future()
    mapped = one.map(lambda value: value + 1)
    seen = []
    mapped.add_done_callback(lambda done: seen.append(done.exception()))
    one.set_exception(ValueError("no"))
    assert isinstance(seen[0], ValueError)
    with pytest.raises(ValueError, match="no"):
        mapped.get()


def test_get_all_gives_one_limit_to_all_of_them():
    futures = [us.Future(), us.Future()]
    with pytest.raises(us.Timeout):
        us.get_all(futures, timeout=0.01)
    for number, future in enumerate(futures):
        future.set(number)
    assert us.get_all(futures) == [0, 1]


def test_a_cancelled_future_stays_cancelled():
    future = us.Future()
    assert future.cancel()
    assert future.cancelled()
    assert not future.cancel()
    assert not future._us_resolve(1)
    assert isinstance(future.exception(), asyncio.CancelledError)
