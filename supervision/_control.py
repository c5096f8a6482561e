"""What a running system answers on its control socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.supervision._control_journal import journal_ops
from understudy.supervision._control_socket import SOCKET_NAME, ControlSocket
from understudy.supervision._looks import all_stacks
from understudy.supervision._tree import SHOWN, tree_data

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from understudy.supervision._system import ActorSystem

__all__ = ["control_socket"]


def control_socket(system: ActorSystem, data_dir: Path) -> ControlSocket:
    """The control socket of a system, not started yet."""

    def tree(request: Mapping[str, Any]) -> Any:
        children = request.get("children", SHOWN)
        return tree_data(system, children if isinstance(children, int) else SHOWN)

    def stop(_: Mapping[str, Any]) -> Any:
        system.begin_stop()
        return {"stopping": system.name}

    return ControlSocket(
        data_dir / SOCKET_NAME,
        {
            "ping": lambda _: {"system": system.name, "state": system.state},
            "tree": tree,
            "stats": lambda _: system.stats().as_dict(),
            "stacks": lambda _: all_stacks(system),
            "health": lambda _: system.health.report().as_dict(),
            "stop": stop,
            **journal_ops(system),
        },
        spawn_thread=system.runtime.spawn_thread,
    )
