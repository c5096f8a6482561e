"""The page at `/`: static files, what they need to know, and the button that crashes an agent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

import understudy as us
from examples.librarian.corpus import PythonCorpus

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from examples.librarian.agent import Settings
    from examples.librarian.index import Index

STATIC = Path(__file__).parent / "static"

# Nothing comes from anywhere else, and no text of an answer is ever run.
POLICY = (
    "default-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; object-src 'none'"
)

PYTHON_QUESTIONS = (
    "What does the with statement do?",
    "How does functools.lru_cache work?",
    "What happens when an exception is raised in a finally block?",
    "How do I open a SQLite database?",
)


def page_routes(host: us.SessionHost, index: Index, settings: Settings) -> list[BaseRoute]:
    """Return the routes of the page, of its files, and of the crash button."""

    async def page(_request: Request) -> Response:
        headers = {"content-security-policy": POLICY, "cache-control": "no-cache"}
        return FileResponse(STATIC / "index.html", headers=headers)

    async def about(_request: Request) -> Response:
        about = {
            "corpus": index.corpus_name,
            "documents": index.document_count,
            "passages": index.passage_count,
            "model": settings.model.name if settings.model is not None else None,
            "suggestions": await run_in_threadpool(suggestions, index),
        }
        return JSONResponse(about, headers={"cache-control": "no-store"})

    async def crash(request: Request) -> Response:
        try:
            key = us.SessionKey(
                request.path_params["user"], "librarian", request.path_params["thread"]
            )
        except us.UnderstudyError as error:
            return JSONResponse({"message": str(error)}, 400)
        crashed = await run_in_threadpool(host.crash, key)
        if not crashed:
            message = (
                "Nobody is on stage here: ask something first, then crash the one who answers."
            )
            return JSONResponse({"crashed": False, "message": message}, 409)
        message = "The agent fell. Its supervisor has sent for the understudy."
        return JSONResponse({"crashed": True, "message": message})

    return [
        Route("/", page),
        Route("/librarian/about", about),
        Route("/librarian/crash/{user}/{thread}", crash, methods=["POST"]),
        Mount("/static", _Revalidated(directory=STATIC)),
    ]


class _Revalidated(StaticFiles):
    """Static files that a browser asks about each time: a new version is seen at once."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]  # handed on
        response.headers["cache-control"] = "no-cache"
        return response


def suggestions(index: Index) -> list[str]:
    """Return questions that these documents answer, to begin with."""
    if index.corpus_name == PythonCorpus().name:
        return list(PYTHON_QUESTIONS)
    return [f"What is said about {title}?" for title in index.titles(4)]
