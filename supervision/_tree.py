"""The supervision tree of a system, as data and as text."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from understudy.supervision._detector import Verdict
from understudy.supervision._family import short
from understudy.supervision._spec import ChildState, is_supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from understudy.actors import ActorRef
    from understudy.supervision._spec import ChildInfo
    from understudy.supervision._system import ActorSystem

__all__ = ["TreeNode", "build_tree", "tree_data"]

_STATES = {
    Verdict.BUSY: "busy",
    Verdict.WAITING: "waiting",
    Verdict.FROZEN: "frozen",
    Verdict.OVERDUE: "frozen",
}
SHOWN = 50
"""Children of one parent that the text shows; a data structure of all of them is there too."""


@dataclass(frozen=True)
class TreeNode:
    """One actor in the tree, with everything below it.

    Attributes:
        path: its path.
        name: last part of it.
        cls: name of its class.
        kind: `"system"`, `"supervisor"` or `"worker"`.
        dispatcher: name of the dispatcher it runs on; empty for one that is not there.
        state: `running`, `starting`, `restarting`, `stopping` or `stopped`; of one that has been
            in a handler for long also what the failure detector holds: `busy`, `waiting` (on a
            lease or for an answer), `frozen`.
        restarts: how often it was restarted.
        depth: messages that wait.
        oldest: seconds the oldest of them has waited, None where unknown.
        message: what it handles now, as text; None while it handles nothing.
        seconds: for how long, None where unknown.
        last_failure: its last failure, as text; None where there was none.
        children: what is below.

    """

    path: str
    name: str
    cls: str
    kind: str
    state: str
    restarts: int = 0
    depth: int = 0
    oldest: float | None = None
    message: str | None = None
    seconds: float | None = None
    last_failure: str | None = None
    dispatcher: str = ""
    children: tuple[TreeNode, ...] = field(default=())

    def walk(self) -> Iterator[TreeNode]:
        """This node and all below it, parents first."""
        stack: list[TreeNode] = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))

    def find(self, path: str) -> TreeNode | None:
        """The node with this path, None where there is none."""
        for node in self.walk():
            if node.path == path:
                return node
        return None

    def as_dict(self, children: int | None = None) -> dict[str, Any]:
        """Plain data; at most `children` children of each parent, the rest counted in `more`.

        The branches of a system are shown in any case.
        """
        whole = children is None or self.kind == "system"
        shown = self.children if whole else self.children[:children]
        current = None
        if self.message is not None:
            current = {"message": self.message, "seconds": self.seconds}
        return {
            "path": self.path,
            "name": self.name,
            "class": self.cls,
            "kind": self.kind,
            "dispatcher": self.dispatcher,
            "state": self.state,
            "restarts": self.restarts,
            "depth": self.depth,
            "oldest": self.oldest,
            "current": current,
            "last_failure": self.last_failure,
            "children": [child.as_dict(children) for child in shown],
            "more": len(self.children) - len(shown),
        }

    def __str__(self) -> str:
        return "\n".join(self._lines("", "", ""))

    def _lines(self, lead: str, branch: str, below: str) -> Iterator[str]:
        facts = [f"{self.name}  {self.cls}", self.state]
        if self.dispatcher not in {"", "pool"}:
            facts.append(f"on {self.dispatcher}")
        if self.restarts:
            facts.append(f"restarted {self.restarts}x")
        if self.depth:
            facts.append(f"{self.depth} waiting")
        if self.message is not None:
            facts.append(f"in {self.message}")
        if self.last_failure is not None:
            facts.append(f"last failure {self.last_failure}")
        yield f"{lead}{branch}{', '.join(facts)}"
        shown = self.children[:SHOWN]
        more = len(self.children) - len(shown)
        for at, child in enumerate(shown):
            last = at == len(shown) - 1 and not more
            mark, under = ("└─ ", "   ") if last else ("├─ ", "│  ")
            yield from child._lines(lead + below, mark, under)
        if more:
            yield f"{lead}{below}└─ … and {more} more"


def build_tree(system: ActorSystem, root: ActorRef[Any]) -> TreeNode:
    """The tree below a system's root, as it is now; a picture, not a transaction."""
    working = {line.ref: line.message for line in system.runtime.running()}
    picture = _Picture(system, working)
    return TreeNode(
        **{
            **picture.facts(root, "/", system.state, 0, None),
            "name": system.name,
            "kind": "system",
        }
    )


class _Picture:
    """One walk over the families."""

    def __init__(self, system: ActorSystem, working: dict[Any, Any]) -> None:
        self._system = system
        self._families = system.realm.families
        self._working = working
        watcher = system.realm.watcher
        self._verdicts = watcher.judge.verdicts() if watcher is not None else {}

    def facts(
        self,
        ref: ActorRef[Any],
        path: str,
        state: str,
        restarts: int,
        last_failure: str | None,
    ) -> dict[str, Any]:
        family = self._families.get(ref)
        children: tuple[TreeNode, ...] = ()
        if family is not None:
            children = tuple(self.child(path, info) for info in reversed(family.which_children()))
        mail = ref.mailbox_statistics()
        message = self._working.get(ref)
        if state == "running" and ref in self._working:
            state = _STATES.get(self._verdicts.get(ref, Verdict.ALIVE), state)
        return {
            "path": path,
            "name": path.rpartition("/")[2],
            "cls": ref.actor_class.__name__,
            "kind": "supervisor" if is_supervisor(ref.actor_class) else "worker",
            "state": state,
            "restarts": restarts,
            "depth": mail.depth,
            "oldest": mail.oldest_age,
            "message": None if message is None else short(message, 80),
            "seconds": self._system.running_for(ref) if ref in self._working else None,
            "last_failure": last_failure,
            "dispatcher": ref._us_home.name,
            "children": children,
        }

    def child(self, above: str, info: ChildInfo) -> TreeNode:
        path = f"{above.rstrip('/')}/{info.id}"
        state = info.state.value
        if info.ref is None or info.state is ChildState.STOPPED:
            cls = "" if info.cls is None else info.cls.__name__
            return TreeNode(
                path,
                info.id,
                cls,
                info.type,
                state,
                info.restarts,
                last_failure=info.last_failure,
            )
        return TreeNode(**self.facts(info.ref, path, state, info.restarts, info.last_failure))


def tree_data(system: ActorSystem, children: int = SHOWN) -> dict[str, Any]:
    """The tree with a few facts about the system, as plain data for tools.

    Args:
        system: the system.
        children: how many children of one parent to include; the rest is counted.

    """
    return {
        "system": system.name,
        "pid": os.getpid(),
        "uptime": system.uptime,
        "stats": system.stats().as_dict(),
        "tree": system.tree().as_dict(children),
    }
