"""Old versions of an event, brought up to today's on read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from understudy.storage._codec_errors import DuplicateUpcaster, EventDecodeError

# An upcaster that renames back and forth would never end; no real history is this long.
MAX_STEPS = 1000


class Stored(NamedTuple):
    """An event as plain data: its name on disk, the version of its form, and the data."""

    type: str
    version: int
    payload: Any


Upcast = Callable[[Any], Any]
UpcastT = TypeVar("UpcastT", bound=Upcast)


class Upcasters:
    """The steps from version to version, by event name."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, int], Upcast] = {}

    def register(self, name: str, from_version: int, step: Upcast) -> None:
        """Make `step` the way from `from_version` to the next version of `name`.

        Raises:
            DuplicateUpcaster: That step is taken.
            ValueError: `from_version` is not a positive whole number.
        """
        if not isinstance(from_version, int) or from_version < 1:
            raise ValueError(f"from_version must be 1 or more, not {from_version!r}")
        if (name, from_version) in self._steps:
            raise DuplicateUpcaster(name, from_version)
        self._steps[name, from_version] = step

    def has(self, name: str, version: int) -> bool:
        """Whether an event of this name and version is changed on read."""
        return (name, version) in self._steps

    def upcast(self, event: Stored) -> list[Stored]:
        """Every event that `event` has become, in order; empty if its history was dropped.

        Raises:
            EventDecodeError: A step raised, or returned something that is no event.
        """
        done: list[Stored] = []
        waiting = [event]
        steps = 0
        while waiting:
            current = waiting.pop(0)
            step = self._steps.get((current.type, current.version))
            if step is None:
                done.append(current)
                continue
            steps += 1
            if steps > MAX_STEPS:
                raise EventDecodeError(
                    event.type,
                    event.version,
                    "",
                    f"its upcasters do not end after {MAX_STEPS} steps",
                )
            waiting[:0] = self._run(step, current)
        return done

    def _run(self, step: Upcast, event: Stored) -> list[Stored]:
        try:
            # A step may edit what it is given; the stored record stays as it is.
            result = step(copy.deepcopy(event.payload))
            return list(_results(result, event))
        except EventDecodeError:
            raise
        except Exception as error:
            raise EventDecodeError(
                event.type,
                event.version,
                "",
                f"its upcaster raised {type(error).__name__}: {error}",
            ) from error


def _results(result: Any, event: Stored) -> Iterable[Stored]:
    if isinstance(result, Mapping):
        yield Stored(event.type, event.version + 1, dict(result))
        return
    if result is None or isinstance(result, str | bytes) or not isinstance(result, Iterable):
        raise EventDecodeError(
            event.type,
            event.version,
            "",
            f"its upcaster returned {result!r}; return a dict, or a list of dicts and "
            "(type, payload[, version]) tuples, empty to drop the event",
        )
    for item in result:
        if isinstance(item, Mapping):
            yield Stored(event.type, event.version + 1, dict(item))
        elif isinstance(item, Stored):
            yield item
        elif isinstance(item, tuple) and len(item) in (2, 3):
            yield Stored(item[0], item[2] if len(item) == 3 else 1, item[1])
        elif hasattr(item, "type") and hasattr(item, "payload"):  # a NewEvent
            yield Stored(item.type, getattr(item, "version", 1), item.payload)  # pyright: ignore[reportAttributeAccessIssue]  # it has them
        else:
            raise EventDecodeError(
                event.type, event.version, "", f"its upcaster returned {item!r} in its list"
            )
