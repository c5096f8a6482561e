"""Let operators put the tree together.

The classes are code, which of them run, with what, and how they are restarted stands in
`print_shop.toml`. This program loads that tree, lets it work for a moment and looks at
it; an operator needs no program at all:

    python examples/print_shop.py
    understudy serve --tree examples/print_shop.toml
"""

from __future__ import annotations

import queue
from pathlib import Path

import understudy as us


class OutOfPaper(Exception):
    """No reason to start anew."""


class Jam(Exception):
    """A press that has jammed is started anew."""


class Ledger(us.Actor):
    """Adds up what has been earned."""

    def __init__(self, currency: str) -> None:
        super().__init__()
        self._currency = currency
        self._earned = 0.0

    def on_receive(self, message: float | str) -> str:
        if not isinstance(message, str):
            self._earned += message
        return f"{self._earned:.2f} {self._currency}"


class Press(us.Actor):
    """Prints a job and has it written down."""

    def __init__(self, ledger: str, price: float = 1.0) -> None:
        super().__init__()
        self._ledger = ledger
        self._price = price

    def on_receive(self, message: str) -> str:
        if message == "jam":
            raise Jam(message)
        if message == "no paper":
            raise OutOfPaper(message)
        self.context.system.tell(self._ledger, self._price)
        return f"printed {message}"


class Customer(us.Actor):
    """Brings a job every so many seconds, to one press after the other."""

    def __init__(self, presses: list[str], every: float) -> None:
        super().__init__()
        self._presses = presses
        self._every = every
        self._jobs = 0

    def on_start(self) -> None:
        self.context.schedule_every(self._every, "next")

    def on_receive(self, message: str) -> None:
        assert message == "next"
        self._jobs += 1
        press = self._presses[self._jobs % len(self._presses)]
        # Every tenth job is more than a press can take.
        self.context.system.tell(press, "jam" if self._jobs % 10 == 0 else f"job {self._jobs}")


def main() -> None:
    tree = us.load_tree(Path(__file__).with_suffix(".toml"))
    with us.ActorSystem("town") as system:
        restarts: queue.Queue[us.ActorRestarted] = queue.Queue()
        system.events.subscribe(restarts.put, us.ActorRestarted)
        system.spawn(tree, name="print_shop")
        press = system.lookup("/user/print_shop/presses/letterpress")
        ledger = system.lookup("/user/print_shop/ledger")
        assert press is not None and ledger is not None  # noqa: PT018  - both or neither

        print(press.ask("a poster", timeout=5.0))
        press.tell("no paper")  # forgiven, says the file
        press.tell("jam")
        print("restarted:", restarts.get(timeout=5.0).ref.path)
        print(press.ask("another", timeout=5.0))
        print("earned:", ledger.ask("how much?", timeout=5.0))
        shop = system.tree().find("/user/print_shop")
        assert shop is not None
        for node in shop.walk():
            print(f"{node.path}: {node.cls}, restarted {node.restarts}x")


if __name__ == "__main__":
    main()
