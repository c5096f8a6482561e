"""Use 1: subclass actors in an application.

A word counter: one actor per document counts, one collects. Shows a message sent
and forgotten (`tell`), one that waits for its answer (`ask`), a method called
through a proxy, a coroutine as a handler, and what becomes of a message whose
receiver is gone.

    python examples/subclass_actors.py
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

import understudy as us

DOCUMENTS = {
    "hamlet": "to be or not to be that is the question",
    "macbeth": "tomorrow and tomorrow and tomorrow creeps in this petty pace",
    "tempest": "we are such stuff as dreams are made on",
}


@dataclass(frozen=True)
class Count:
    """Count the words of a document."""

    title: str
    text: str


class Collector(us.Actor):
    """Adds up what the counters send."""

    def __init__(self) -> None:
        super().__init__()
        self._words: Counter[str] = Counter()

    def on_receive(self, message: Any) -> None:
        self._words.update(message)

    def most_common(self, n: int) -> list[tuple[str, int]]:
        return self._words.most_common(n)


class Reader(us.Actor):
    """Counts one document and passes the count on."""

    def __init__(self, collector: us.ActorRef[Collector]) -> None:
        super().__init__()
        self._collector = collector

    def on_receive(self, message: Count) -> int:
        words = message.text.split()
        self._collector.tell(Counter(words))
        return len(words)


class Library(us.Actor):
    """A coroutine as a handler: it runs on an event loop, and waiting costs no thread."""

    async def on_receive(self, message: str) -> str:
        await asyncio.sleep(0)
        return DOCUMENTS[message]


def main() -> None:
    with us.ActorSystem("library") as system:
        collector = system.spawn(Collector, name="collector")
        reader = system.spawn(Reader, collector, name="reader")
        library = system.spawn(Library, name="library")

        for title in DOCUMENTS:
            text = library.ask(title, timeout=5.0)
            count = reader.ask(Count(title, text), timeout=5.0)
            print(f"{title}: {count} words")

        # What the reader told the collector came before this call: messages of one
        # sender to one receiver keep their order.
        print("most common:", collector.proxy().most_common(3).get(timeout=5.0))
        print("paths:", collector.path, reader.path, library.path)

        # A message to an actor that has stopped is not lost without a trace.
        found = threading.Event()

        def on_dead_letter(letter: us.DeadLetter) -> None:
            print(f"dead letter: {letter.message!r} for {letter.recipient.path}")
            found.set()

        system.events.subscribe(on_dead_letter, us.DeadLetter)
        reader.stop()
        try:
            reader.tell(Count("late", "too late"))
        except us.ActorDeadError as error:
            print("refused:", type(error).__name__)
        assert found.wait(5.0)


if __name__ == "__main__":
    main()
