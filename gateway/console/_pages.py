"""Serving the files of a page beside a gateway: offline, uncached, nothing foreign in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    import os

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Scope

# Everything from this server, nothing run that was not a file of it: the text of an answer, which
# may be anybody's, can never become a script of the page that shows it.
POLICY = (
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'"
)


def pages(
    directory: str | os.PathLike[str], *, at: str = "/static", policy: str = POLICY
) -> list[BaseRoute]:
    """Routes for a page of your own: `app(host, routes=pages("web"))`.

    `index.html` of the directory is the page at `/`; every file of it is below `at`. Browsers ask
    for each file anew, so that a new version is seen at once, and get it only if it has changed.

    Args:
        directory: Folder with the files.
        at: Path the files are under; optional, and if absent `/static`.
        policy: The content security policy sent with the page; optional, and if absent nothing
            from other servers is loaded and no inline script is run.

    Raises:
        FileNotFoundError: The folder has no `index.html`.
    """
    folder = Path(directory)
    if not (folder / "index.html").is_file():
        msg = f"there is no index.html in {str(folder)!r}; pages() serves a folder with a page"
        raise FileNotFoundError(msg)
    files = _Files(policy, directory=folder)

    async def index(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)

    return [Route("/", index), Mount(at, files)]


class _Files(StaticFiles):
    def __init__(self, policy: str, **options: Any) -> None:
        super().__init__(**options)
        self._policy = policy

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        response.headers["content-security-policy"] = self._policy
        response.headers["x-content-type-options"] = "nosniff"
        return response
