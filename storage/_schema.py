"""The layout number of a journal, and how to get from one to the next and back.

A migration is applied inside the transaction that opens the journal, all steps or none.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from understudy.storage._catalog import pack, unpack
from understudy.storage._errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from understudy.storage._environment import Environment

#: The layout this version writes.
SCHEMA = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Migration:
    """A step between two layouts.

    Attributes:
        number: the layout after `up`; `down` goes back to the one before.
        up: called with (environment, transaction).
        down: called with (environment, transaction).
    """

    number: int
    up: Callable[[Any, Any], None]
    down: Callable[[Any, Any], None]


#: Steps that have ever been needed, by number.
MIGRATIONS: tuple[Migration, ...] = ()


def check(path: str, found: int, supported: int = SCHEMA) -> None:
    """Refuse a layout that is not ours.

    Raises:
        SchemaMismatch: naming both numbers.
    """
    if found != supported:
        raise SchemaMismatch(path, found, supported)


def upgrade(
    environment: Environment,
    txn: Any,
    migrations: Sequence[Migration] | None,
    to: int | None = None,
) -> int:
    """Bring the layout up, or down, to `to`; returns the number of steps taken.

    Raises:
        SchemaMismatch: a step is missing.
    """
    steps = {step.number: step for step in (*MIGRATIONS, *(migrations or ()))}
    target = max((SCHEMA, *steps)) if to is None else to
    meta = environment.databases["meta"]
    found: int = unpack(txn.get(b"schema", db=meta) or b"\x00")
    taken = 0
    while found != target:
        going_up = found < target
        step = steps.get(found + 1 if going_up else found)
        if step is None:
            raise SchemaMismatch(environment.path, found, target)
        (step.up if going_up else step.down)(environment, txn)
        found += 1 if going_up else -1
        txn.put(b"schema", pack(found), db=meta)
        taken += 1
    return taken
