"""The demo's other side: a small HTTP receiver of effects, in a process of its own.

It applies each `Idempotency-Key` once, as a payment service would, and counts what
came: `GET /report` tells how many deliveries, how many keys, how many keys came
again, and whether one message was ever applied under two keys or two bodies.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Book:
    """What was delivered. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deliveries: Counter[str] = Counter()
        self._bodies: dict[str, bytes] = {}
        self._applied: Counter[str] = Counter()
        self._changed_bodies = 0

    def deliver(self, key: str, body: bytes) -> None:
        """Take one delivery; apply it unless its key was applied before."""
        subject = json.loads(body)
        message = f"{subject['session']}/{subject['message_id']}"
        with self._lock:
            self._deliveries[key] += 1
            if key not in self._bodies:
                self._bodies[key] = body
                self._applied[message] += 1
            elif self._bodies[key] != body:
                self._changed_bodies += 1

    def report(self) -> dict[str, int]:
        """Return the counts."""
        with self._lock:
            return {
                "deliveries": sum(self._deliveries.values()),
                "keys": len(self._deliveries),
                "redelivered": sum(1 for count in self._deliveries.values() if count > 1),
                "messages": len(self._applied),
                "applied_twice": sum(1 for count in self._applied.values() if count > 1),
                "changed_bodies": self._changed_bodies,
            }


def main() -> None:
    """Listen on a free port, print it, and serve until the process is told to end."""
    book = Book()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
            """Say nothing: the demo reads this process's output."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            book.deliver(self.headers["Idempotency-Key"], body)
            self._answer({"ok": True})

        def do_GET(self) -> None:
            self._answer(book.report())

        def _answer(self, value: object) -> None:
            data = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
