"""The effect of an answer: a report to an HTTP address, with a key that says which one it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import understudy as us

if TYPE_CHECKING:
    from typing import Any

TIMEOUT = 10.0


class Webhook(us.EffectHandler):
    """POSTs the payload as JSON to the payload's `url`.

    The delivery is at least once: after a crash between the receiver's answer and
    the note of it in the journal it comes again. The header `Idempotency-Key` is
    the same both times; the receiver applies each key once.
    """

    def handle(self, effect: Any) -> None:
        """Deliver one report; whatever is raised makes the runner try again later."""
        body = {key: value for key, value in effect.payload.items() if key != "url"}
        request = Request(
            effect.payload["url"],
            data=json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "Idempotency-Key": effect.dedupe_key,
            },
            method="POST",
        )
        with urlopen(request, timeout=TIMEOUT) as response:
            response.read()
