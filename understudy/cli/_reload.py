"""Watching for changed files: a new process for each version of an application."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.supervisors.basereload import BaseReload
from uvicorn.supervisors.statreload import StatReload

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

# Folders in which nobody edits what is being served.
PASSED_OVER = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "build", "dist"})


class Reloader(StatReload):
    """uvicorn's reloader, which misses no change made while a process starts."""

    def startup(self) -> None:
        """Note every file, then start the first process."""
        self._note()
        super().startup()

    def restart(self) -> None:
        """Note every file, then put a new process in the place of the old one."""
        self._note()
        BaseReload.restart(self)

    def _note(self) -> None:
        self.mtimes = {}
        for file in self.iter_py_files():
            try:
                self.mtimes[file] = file.stat().st_mtime
            except OSError:
                # It went away while the folder was read; so it is no file to watch.
                continue

    def iter_py_files(self) -> Iterator[Path]:
        """The Python files below the watched folders, and the TOML files: trees, settings."""
        for top in self.config.reload_dirs:
            for folder, folders, files in os.walk(top):
                folders[:] = [
                    name for name in folders if not name.startswith(".") and name not in PASSED_OVER
                ]
                for name in files:
                    if name.endswith((".py", ".toml")):
                        yield Path(folder, name)


def reload_with(target: Callable[..., None], listener: socket.socket) -> int:
    """Run `target(sockets=[listener])` in a process, and in a new one after each change.

    Returns:
        The exit code of the last process.
    """
    watched = uvicorn.Config(
        "watched:nothing", reload=True, reload_dirs=[str(Path.cwd())], log_config=None
    )
    reloader = Reloader(watched, target=target, sockets=[listener])
    reloader.run()
    code = reloader.process.exitcode
    return code if code is not None and code >= 0 else 0
