"""The feed: each frame once, in order, in bounded memory."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

import pytest

from understudy.gateway._feed import Feed

pytestmark = pytest.mark.asyncio


class Session:
    """Frames that stand in a journal, and live ones offered as they are written."""

    def __init__(self) -> None:
        self.frames: list[dict] = []
        self.pages: list[tuple[int, int]] = []

    def write(self, feed: Feed | None = None) -> dict:
        frame = {"seq": len(self.frames) + 1, "type": "token"}
        self.frames.append(frame)
        if feed is not None:
            feed.offer(frame)
        return frame

    async def page(self, after: int, limit: int) -> list[dict]:
        self.pages.append((after, limit))
        return self.frames[after : after + limit]


async def take(feed: Feed, count: int) -> list[int]:
    seen = []
    async with aclosing(feed.frames()) as frames:
        async for frame in frames:
            seen.append(frame["seq"])
            if len(seen) == count:
                break
    return seen


async def test_live_frames_arrive_in_order_without_reading_the_journal() -> None:
    session = Session()
    feed = Feed(after=0, capacity=8, page=session.page)
    for _ in range(5):
        session.write(feed)
    assert await take(feed, 5) == [1, 2, 3, 4, 5]
    assert session.pages == []


async def test_a_client_that_comes_back_gets_what_it_missed_in_pages() -> None:
    session = Session()
    for _ in range(10):
        session.write()
    feed = Feed(after=3, capacity=4, page=session.page)
    feed.lag()
    assert await take(feed, 7) == [4, 5, 6, 7, 8, 9, 10]
    assert session.pages == [(3, 4), (7, 4)]


async def test_frames_beyond_the_buffer_are_let_go_and_read_back_from_the_journal() -> None:
    session = Session()
    feed = Feed(after=0, capacity=3, page=session.page)
    for _ in range(100):
        session.write(feed)
    assert len(feed._buffer) == 3
    assert await take(feed, 100) == list(range(1, 101))


async def test_a_frame_seen_in_a_page_and_live_is_sent_once() -> None:
    session = Session()
    feed = Feed(after=0, capacity=8, page=session.page)
    for _ in range(3):
        session.write(feed)
    feed.lag()
    session.write(feed)
    session.write(feed)
    assert await take(feed, 5) == [1, 2, 3, 4, 5]


async def test_a_gap_before_a_live_frame_is_filled_from_the_journal() -> None:
    session = Session()
    feed = Feed(after=0, capacity=8, page=session.page)
    session.write()
    session.write()
    session.write(feed)
    assert await take(feed, 3) == [1, 2, 3]


async def test_a_history_that_was_truncated_does_not_stop_what_follows() -> None:
    async def nothing(after: int, limit: int) -> list[dict]:
        return []

    feed = Feed(after=0, capacity=8, page=nothing)
    feed.offer({"seq": 41})
    feed.offer({"seq": 42})
    assert await take(feed, 2) == [41, 42]


async def test_a_frame_that_was_let_go_is_looked_for_until_the_journal_shows_it() -> None:
    session = Session()
    looks: list[int] = []

    async def late(after: int, limit: int) -> list[dict]:
        looks.append(after)
        shown = session.frames[: 3 if len(looks) < 4 else None]
        return shown[after : after + limit]

    feed = Feed(after=0, capacity=2, page=late)
    for _ in range(5):
        session.write(feed)
    assert await take(feed, 5) == [1, 2, 3, 4, 5]
    assert looks[:3] == [2, 3, 3]


async def test_a_frame_that_never_shows_does_not_hold_up_the_next_ones(monkeypatch) -> None:
    monkeypatch.setattr("understudy.gateway._feed.PAUSE", 0.0)

    async def nothing(after: int, limit: int) -> list[dict]:
        return []

    feed = Feed(after=0, capacity=1, page=nothing)
    feed.offer({"seq": 1})
    feed.offer({"seq": 2})
    taking = asyncio.create_task(take(feed, 2))
    while feed.sent < 1 or feed._lagging:
        await asyncio.sleep(0)
    feed.offer({"seq": 3})
    assert await taking == [1, 3]


async def test_a_storm_from_another_thread_makes_one_wake_up_and_loses_nothing() -> None:
    session = Session()
    feed = Feed(after=0, capacity=16, page=session.page)
    count = 20_000
    writer = threading.Thread(target=lambda: [session.write(feed) for _ in range(count)])
    writer.start()
    assert await take(feed, count) == list(range(1, count + 1))
    writer.join(10)
    assert not writer.is_alive()


async def test_however_many_frames_come_one_wake_up_waits_in_the_loop(monkeypatch) -> None:
    session = Session()
    feed = Feed(after=0, capacity=4, page=session.page)
    wake_ups: list = []
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.get_running_loop(), "call_soon_threadsafe", wake_ups.append)
        for _ in range(100):
            session.write(feed)
    [wake_up] = wake_ups
    wake_up()
    assert await take(feed, 100) == list(range(1, 101))


async def test_closing_ends_the_iteration_and_takes_nothing_more() -> None:
    session = Session()
    feed = Feed(after=0, capacity=8, page=session.page)
    taking = asyncio.create_task(take(feed, 1))
    await asyncio.sleep(0)
    feed.close()
    assert await taking == []
    session.write(feed)
    assert feed._buffer == []


async def test_a_frame_after_the_end_of_the_loop_is_dropped_without_an_error() -> None:
    made: list[Feed] = []

    def other_loop() -> None:
        async def make() -> None:
            made.append(Feed(after=0, capacity=8, page=Session().page))

        asyncio.run(make())

    thread = threading.Thread(target=other_loop)
    thread.start()
    thread.join(10)
    made[0].offer({"seq": 1})
    made[0].offer({"seq": 2})
    assert made[0]._closed
