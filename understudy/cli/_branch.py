"""A tree of supervisors from a TOML file, as `understudy serve --tree` runs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.actors import ActorStopped
from understudy.cli._console import note
from understudy.supervision import load_tree

if TYPE_CHECKING:
    from understudy.supervision import ActorSystem, Supervisor


class Branch:
    """The branch of a system that a file describes; when it ends by itself, so does the system.

    Attributes:
        name: Its name under `/user`: the file's, without the suffix.
        started: Whether it was given to a system.
        up: Whether it has started whole.
        over: Whether it has ended by itself.
        failure: Why it ended, if that was a failure.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.name = file.stem
        self.started = False
        self.up = False
        self.over = False
        self.failure: str | None = None
        self._tree: type[Supervisor] | None = None

    def load(self) -> None:
        """Read the file and import its classes, before any system is made.

        The working directory is searched first, then the folder of the file.

        Raises:
            InvalidTree: The file cannot be used; `problems` has each mistake.
            OSError: It cannot be read.
        """
        for folder in (self.file.resolve().parent, Path.cwd()):
            if str(folder) not in sys.path:
                sys.path.insert(0, str(folder))
        self._tree = load_tree(self.file)

    def start(self, system: ActorSystem) -> None:
        """Start it, with all its children.

        Raises:
            StartFailed: One of them could not start; nothing of it runs.
        """
        assert self._tree is not None
        self.started = True
        path = f"/user/{self.name}"

        def ended(event: ActorStopped) -> None:
            if system.state != "running":
                return
            self.over = True
            reason = event.reason
            if reason.abnormal:
                self.failure = f"the tree {self.file} stopped by itself: {reason!r}"
            else:
                note(f"the tree {self.file} has ended: {reason!r}")
            system.begin_stop()

        system.events.subscribe(ended, ActorStopped, where=lambda event: event.path == path)
        system.spawn(self._tree, name=self.name)
        self.up = True
