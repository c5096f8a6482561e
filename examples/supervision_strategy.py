"""Use 2: configure how failures are handled.

A chat room that keeps its lines in a store. If the store falls, the room, which
was started after it and depends on it, is started anew as well (`RestForOne`); if
the room falls, the store stays. A joke too many (`ValueError`) is forgiven without
a restart. After more than three restarts in five seconds the supervisor gives up.

    python examples/supervision_strategy.py
"""

from __future__ import annotations

import queue

import understudy as us


class Store(us.Actor):
    """Keeps lines; falls when told to."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def on_receive(self, message: str) -> int:
        if message == "fall":
            raise OSError("the disk went away")
        self._lines.append(message)
        return len(self._lines)


class Room(us.Actor):
    """Says what is said; jokes are not its strength."""

    def on_receive(self, message: str) -> str:
        if message == "joke":
            raise ValueError("did not get it")
        if message == "fall":
            raise RuntimeError("the ceiling came down")
        return f"said: {message}"


class Chat(us.Supervisor):
    """Store first, then the room that depends on it."""

    strategy = us.RestForOne(intensity=3, period=5.0)
    decider = {ValueError: us.Directive.RESUME}  # noqa: RUF012  - as documented

    def children(self) -> list[us.ChildSpec]:
        return [
            us.ChildSpec("store", Store, restart=us.Restart.PERMANENT, shutdown=5.0),
            us.ChildSpec("room", Room, restart=us.Restart.PERMANENT),
        ]


def main() -> None:
    with us.ActorSystem("theatre") as system:
        restarts: queue.Queue[us.ActorRestarted] = queue.Queue()
        ended: queue.Queue[us.ActorStopped] = queue.Queue()
        system.events.subscribe(restarts.put, us.ActorRestarted)

        # Temporary: when Chat itself gives up, nobody starts it anew.
        chat = system.spawn(Chat, name="chat", restart=us.Restart.TEMPORARY)
        store, room = system.lookup("/user/chat/store"), system.lookup("/user/chat/room")
        assert store is not None and room is not None  # noqa: PT018  - both or neither
        print("children:", [info.id for info in chat.proxy().which_children().get(timeout=5.0)])

        store.ask("a first line", timeout=5.0)
        room.tell("joke")  # forgiven: same instance, next message
        print(room.ask("still here", timeout=5.0))
        print("restarts so far:", restarts.qsize())

        room.tell("fall")
        print("restarted:", restarts.get(timeout=5.0).ref.path)
        print("lines kept by the store:", store.ask("a second line", timeout=5.0))

        store.tell("fall")
        fallen = sorted(restarts.get(timeout=5.0).ref.path for _ in range(2))
        print("restarted:", *fallen)
        print("a fresh store counts from", store.ask("a line", timeout=5.0))

        # One more within five seconds is one too many: Chat gives up, and says why.
        system.events.subscribe(ended.put, us.ActorStopped)
        room.tell("fall")
        room.tell("fall")
        while (stopped := ended.get(timeout=5.0)).ref.path != "/user/chat":
            pass
        print("chat ended:", type(stopped.reason).__name__, "alive:", chat.is_alive())


if __name__ == "__main__":
    main()
