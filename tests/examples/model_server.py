"""A small real HTTP server that speaks /chat/completions, for tests."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class ModelServer:
    """Answers every request with what `behaviour` says, and keeps the requests.

    `behaviour` is a list consumed one per request, the last one repeated: a list
    of words (streamed), a number (an HTTP error), or "break", "error", "garbage",
    "endless" for the ways a stream can go wrong.
    """

    behaviour: list = field(default_factory=lambda: [["Hello", " there"]])
    requests: list = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def __enter__(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append((self.path, dict(self.headers), body))
                behaviour = server.behaviour[0]
                if len(server.behaviour) > 1:
                    server.behaviour.pop(0)
                if isinstance(behaviour, int):
                    self.refuse(behaviour)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    self.stream(behaviour, body)
                except OSError:
                    server.hung_up.set()
                    self.close_connection = True

            def refuse(self, status):
                data = json.dumps({"error": {"message": f"told {status}", "type": "test"}}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def chunk(self, text):
                data = text.encode()
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()

            def event(self, value):
                self.chunk(f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n")

            def word(self, text, finish=None):
                self.event(
                    {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
                )

            def stream(self, behaviour, body):
                self.chunk(": a comment, as some endpoints send\n\n")
                self.event({"choices": [{"index": 0, "delta": {"role": "assistant"}}]})
                if behaviour == "endless":
                    while True:
                        self.word("again ")
                if behaviour == "garbage":
                    self.event("{not json")
                elif behaviour in ("break", "error"):
                    self.word("Half an ")
                    if behaviour == "break":
                        self.close_connection = True
                        return
                    self.event({"error": {"message": "out of memory"}})
                else:
                    for text in behaviour:
                        self.word(text)
                    self.word("", "stop")
                    if body.get("stream_options", {}).get("include_usage"):
                        self.event(
                            {"choices": [], "usage": {"prompt_tokens": 70, "completion_tokens": 7}}
                        )
                    self.event("[DONE]")
                self.wfile.write(b"0\r\n\r\n")

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_address[1]}/v1"
        self.thread = threading.Thread(
            target=self.httpd.serve_forever, args=(0.01,), name="model-server", daemon=True
        )
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.httpd.shutdown()
        self.httpd.server_close()
        with contextlib.suppress(RuntimeError):
            self.thread.join(10)
