"""Everything at once, from many threads and two event loops; afterwards all is accounted for.

A few seconds by default; `UNDERSTUDY_STRESS_SECONDS=600` for the long run, with
`-o faulthandler_timeout=0`: the stacks that pytest writes after two minutes are read while other
threads run, which can end the process. A million actors in one process: `UNDERSTUDY_MILLION=1`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
import time
from typing import Any

import pytest

import understudy as us

SECONDS = float(os.environ.get("UNDERSTUDY_STRESS_SECONDS", "3"))
LIMIT = 60.0


class Account:
    """Counts what became of every message."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = {}

    def add(self, what, number=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + number

    def __getitem__(self, what):
        return self.counts.get(what, 0)


class Worker(us.Actor):
    """Handles numbered messages; fails, watches and schedules when it is told to."""

    def __init__(self, account):
        super().__init__()
        self.account = account

    def on_receive(self, message):
        if isinstance(message, us.Terminated):
            self.account.add("notices")
            return None
        if message == "tick":
            return None
        kind, other = message
        self.account.add(f"handled {kind}")
        if other is not None and kind == "tell":
            if other.is_alive():
                self.context.watch(other)
            self.context.schedule_once(0.001, "tick")
        if kind == "crash":
            raise ValueError("stress")
        return "answer"


class Async(Worker):
    async def on_receive(self, message):
        await asyncio.sleep(0)
        return super().on_receive(message)


@pytest.mark.stress
@pytest.mark.timeout(SECONDS + 3 * LIMIT)
def test_every_message_is_accounted_for_and_everything_returns_to_the_start(caplog):
    caplog.set_level("CRITICAL")
    account = Account()
    stop_at = time.monotonic() + SECONDS
    config = us.Config(detector=us.DetectorConfig(enabled=False))
    before = threading.active_count()
    with us.ActorSystem("stress", config=config) as system:
        letters = Account()

        def dead(letter):
            if isinstance(letter.message, tuple):
                letters.add(letter.message[0])

        system.events.subscribe(dead, us.DeadLetter)
        lock = threading.Lock()
        refs = []

        def spawn(rng):
            cls = Async if rng.random() < 0.2 else Worker
            mailbox = None
            if rng.random() < 0.2:
                mailbox = us.Mailbox(
                    capacity=rng.randint(1, 50),
                    overflow=rng.choice(["reject", "drop_oldest", "drop_newest"]),
                )
            ref = system.spawn(cls, account, mailbox=mailbox)
            with lock:
                refs.append(ref)

        def pick(rng):
            with lock:
                return rng.choice(refs) if refs else None

        def settle(futures):
            """Every ask is answered; waiting for them also keeps the mailboxes from growing."""
            while futures:
                try:
                    futures.pop().get(timeout=LIMIT)
                except us.Timeout:
                    account.add("unresolved")
                except (us.ActorDeadError, us.MailboxFull, ValueError):
                    pass

        def send(rng, ref, futures):
            roll = rng.random()
            if roll < 0.55:
                kind = "tell"
                account.add("sent tell")
                try:
                    ref.tell((kind, pick(rng) if rng.random() < 0.1 else None))
                except us.ActorDeadError:
                    pass  # its dead letter counts
                except us.MailboxFull:
                    account.add("refused tell")
            elif roll < 0.60:
                account.add("sent crash")
                try:
                    ref.tell(("crash", None))
                except us.ActorDeadError:
                    pass
                except us.MailboxFull:
                    account.add("refused crash")
            elif roll < 0.90:
                futures.append(ref.ask(("ask", None), block=False))
            elif roll < 0.95:
                ref.stop(block=False, now=rng.random() < 0.5)
                with lock:
                    if ref in refs:
                        refs.remove(ref)
            else:
                spawn(rng)

        def thread(seed):
            rng = random.Random(seed)
            futures: list[Any] = []
            while time.monotonic() < stop_at:
                with lock:
                    few = len(refs) < 20
                if few:
                    spawn(rng)
                ref = pick(rng)
                if ref is not None:
                    send(rng, ref, futures)
                if len(futures) > 50:
                    settle(futures)
            settle(futures)

        async def on_loop(seed):
            rng = random.Random(seed)
            while time.monotonic() < stop_at:
                ref = pick(rng)
                if ref is None:
                    await asyncio.sleep(0)
                    continue
                account.add("async asks")
                try:
                    await ref.ask_async(("ask", None), timeout=LIMIT)
                except (us.ActorDeadError, us.MailboxFull):
                    pass
                account.add("async answers")

        threads = [threading.Thread(target=thread, args=(n,)) for n in range(16)]
        threads += [
            threading.Thread(target=lambda n=n: asyncio.run(on_loop(n))) for n in range(100, 102)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join(SECONDS + LIMIT)
        assert not any(each.is_alive() for each in threads)
        for ref in list(refs):
            ref.stop(block=False)
        assert account["unresolved"] == 0
        assert account["async asks"] == account["async answers"]
        assert system.runtime.wait_quiet(LIMIT) == []
        for kind in ("tell", "crash"):
            sent = account[f"sent {kind}"]
            handled, lost = account[f"handled {kind}"], letters[kind]
            assert sent == handled + lost + account[f"refused {kind}"], (kind, account.counts)
        assert system.runtime.stats().zombie_threads == 0
    gc.collect()
    deadline = time.monotonic() + LIMIT
    while threading.active_count() > before + 2 and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert threading.active_count() <= before + 2, threading.enumerate()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    "UNDERSTUDY_MILLION" not in os.environ, reason="asked for by UNDERSTUDY_MILLION"
)
def test_a_million_actors_answer_and_stop():
    class Small(us.Actor):
        def on_receive(self, message):
            return message

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    number = int(os.environ["UNDERSTUDY_MILLION"])
    number = 1_000_000 if number <= 1 else number
    with us.ActorSystem("million") as system:
        before = resident()
        times = [time.perf_counter()]
        refs = [system.spawn(Small) for _ in range(number)]
        times.append(time.perf_counter())
        for index, ref in enumerate(refs):
            assert ref.ask(index) == index
        times.append(time.perf_counter())
        used = (resident() - before) / number
        system.stop(timeout=300)
        times.append(time.perf_counter())
    spawn, ask, stop = (b - a for a, b in zip(times, times[1:], strict=False))
    print(  # noqa: T201 - the numbers are what the run is for
        f"\n{number} actors: {used:.0f} bytes each, spawn {spawn:.1f} s, ask {ask:.1f} s, "
        f"stop {stop:.1f} s"
    )
    assert used < 1300
    assert not any(ref.is_alive() for ref in refs)
