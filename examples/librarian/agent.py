"""The agent: it streams a reply piece by piece, with its sources, and reports it to a webhook."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import understudy as us
from examples.librarian import wording
from examples.librarian.model import Model, ModelError, Usage, stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from examples.librarian.library import Library, Reply

INSTRUCTIONS = """\
You are a librarian. Answer the question from the numbered passages only. Put the number of the
passage behind each statement, like [1]. If the passages do not answer the question, say so and
do not guess. Be brief; use Markdown; keep code in fences."""

# How many earlier exchanges a language model is shown.
REMEMBERED = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """How the Librarian behaves.

    `pace` is the time in seconds between two pieces of an answer quoted from the
    documents; 0 sends them as fast as they are journaled. `webhook` is the address
    each answer is reported to, none by default. `model` words the answers; without
    one they are quoted.
    """

    pace: float = 0.02
    webhook: str | None = None
    model: Model | None = None


class Librarian(us.Agent):
    """Answers in the documents' own words.

    Its memory is `turn.history`, read from the journal, so a restart forgets
    nothing. The same question over the same history always gives the same text;
    so an answer cut off by a crash goes on behind the last word that was sent.
    """

    resumable = True

    def __init__(self, library: Library, settings: Settings) -> None:
        super().__init__()
        self._library = library
        self._settings = settings

    async def respond(
        self, message: us.Message, turn: us.TurnContext
    ) -> AsyncIterator[str | dict[str, Any]]:
        """Yield the text of the answer as it comes, and its sources at the end."""
        # SQLite and the ranking take a few milliseconds: not on the event loop.
        reply = await asyncio.to_thread(self._library.reply, message.text, turn.history)
        async for piece in self._worded(reply, message, turn):
            yield piece
        yield reply.data
        if self._settings.webhook is not None:
            turn.effect(
                "webhook",
                {
                    "url": self._settings.webhook,
                    "session": str(turn.session),
                    "message_id": message.id,
                    "question": message.text,
                    "sources": [source["location"] for source in reply.data["sources"]],
                },
                dedupe_key=f"{turn.session}/{message.id}",
            )

    async def _worded(
        self, reply: Reply, _message: us.Message, turn: us.TurnContext
    ) -> AsyncIterator[str]:
        async for piece in self._quoted(reply.text, turn):
            yield piece

    async def _quoted(self, text: str, turn: us.TurnContext) -> AsyncIterator[str]:
        sent = turn.sent
        if not text.startswith(sent):
            # The documents were exchanged between the crash and now. What was said stands.
            text = f"{sent}\n\n(The documents have changed meanwhile; once more.)\n\n{text}"
        for piece in wording.pieces(text[len(sent) :]):
            yield piece
            await asyncio.sleep(self._settings.pace)


class WordedLibrarian(Librarian):
    """Has a language model word the answer from the passages found.

    A model does not say the same thing twice, so an answer cut off by a crash
    begins anew, and the client is told so. A model that refuses before its first
    word does not cost the answer: it is quoted instead, and that is said.
    """

    resumable = False

    async def _worded(
        self, reply: Reply, message: us.Message, turn: us.TurnContext
    ) -> AsyncIterator[str]:
        model = self._settings.model
        if model is None or not reply.passages:
            async for piece in self._quoted(reply.text, turn):
                yield piece
            return
        usage = Usage()
        begun = False
        try:
            async for piece in stream(model, _prompt(reply, message, turn), usage):
                begun = True
                yield piece
        except ModelError as error:
            if begun:
                # Half an answer cannot be mended by another text: the turn is taken up anew.
                raise
            reply.data["model_error"] = str(error)
            yield "The language model did not answer, so here are the documents' own words.\n\n"
            async for piece in self._quoted(reply.text, turn):
                yield piece
            return
        reply.data["model"] = model.name
        if usage.prompt is not None and usage.completion is not None:
            turn.usage(prompt=usage.prompt, completion=usage.completion)


def _prompt(reply: Reply, message: us.Message, turn: us.TurnContext) -> list[dict[str, str]]:
    passages = "\n\n".join(
        f"[{number}] {passage.title} ({passage.location})\n{passage.body}"
        for number, passage in reply.passages
    )
    messages = [{"role": "system", "content": INSTRUCTIONS}]
    for exchange in turn.history[-REMEMBERED:]:
        messages.append({"role": "user", "content": exchange.text})
        messages.append({"role": "assistant", "content": exchange.answer})
    question = f"Passages:\n\n{passages}\n\nQuestion: {message.text}"
    messages.append({"role": "user", "content": question})
    return messages
