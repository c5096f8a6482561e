"""Supervision trees from TOML files, so that operators configure a tree without code."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pykka

from understudy.actors import Directive, Heartbeat, Mailbox
from understudy.supervision._class_path import NoSuchClass, did_you_mean, find_class
from understudy.supervision._errors import InvalidChildSpec, InvalidTree
from understudy.supervision._spec import AutoShutdown, ChildSpec, is_supervisor
from understudy.supervision._static_family import check_children
from understudy.supervision._strategies import STRATEGIES, Backoff, OneForOne, Strategy
from understudy.supervision._supervisor import Supervisor

__all__ = ["load_tree"]

_MEMBER = re.compile(r"\b[A-Z]\w+\.([A-Z_]+)\b")
_SUPERVISOR_KEYS = (
    "name", "strategy", "intensity", "period", "budget", "backoff", "auto_shutdown", "decider",
    "children", "include",
)  # fmt: skip
_CHILD_KEYS = (
    "id", "class", "args", "kwargs", "restart", "shutdown", "significant", "heartbeat",
    "ask_failures", "dispatcher", "mailbox", "persistence_id", "supervisor",
)  # fmt: skip


def load_tree(source: str | Path) -> type[Supervisor]:
    """A supervisor class from a TOML file, ready for `system.spawn()` or a child spec.

    ```toml
    [supervisor]
    name = "Shop"
    strategy = "rest_for_one"          # one_for_one | one_for_all | rest_for_one
    intensity = 5                      # "unlimited" with budget = "child"
    period = 10.0
    backoff = { first = 0.1, maximum = 5.0 }
    decider = { ValueError = "resume", "shop.errors:Broken" = "stop" }

    [[supervisor.children]]
    id = "stock"
    class = "shop.stock:Stock"         # module:Class
    args = [100]
    restart = "permanent"
    shutdown = 5.0                     # seconds | "brutal" | "infinity"

    [[supervisor.children]]
    id = "tills"
    supervisor = { strategy = "one_for_one", children = [ ... ] }   # or include = "tills.toml"
    ```

    The whole file is checked, and every class imported, before anything is started.

    Args:
        source: path of the file. Relative `include` paths start at the including file's folder.

    Raises:
        InvalidTree: a key or value cannot be used; `field` is where (`supervisor.children[1].id`),
            `file` in which file, `problems` has one error for each. Files that include themselves
            are refused, and arguments that the class does not take.
        OSError: the file cannot be read.

    """
    return _load_file(Path(source), ())


def _as_written(expected: str | None) -> str:
    """Accepted values as they stand in a file: `"brutal"` for `Shutdown.BRUTAL`."""
    return _MEMBER.sub(lambda found: f'"{found[1].lower()}"', expected or "another value")


def _load_file(path: Path, above: tuple[Path, ...]) -> type[Supervisor]:
    path = path.resolve()
    if path in above:
        chain = " -> ".join(str(p) for p in (*above, path))
        raise InvalidTree(
            "include",
            str(path),
            f"a tree without a circle: take out one include of {chain}",
            above[-1],
        )
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidTree("file", str(path), f"valid TOML in UTF-8; {error}", path) from error
    reader = _Reader(path, (*above, path))
    for key in data:
        if key != "supervisor":
            reader.wrong(key, data[key], "one table, [supervisor]")
    tree = reader.supervisor(data.get("supervisor"), "supervisor")
    InvalidTree.raise_any(reader.problems)
    assert tree is not None
    return tree


class _Reader:
    """Reads one file and collects everything that is wrong with it."""

    def __init__(self, path: Path, above: tuple[Path, ...]) -> None:
        self.problems: list[InvalidChildSpec] = []
        self._path = path
        self._above = above

    def wrong(self, where: str, value: Any, expected: str) -> None:
        self.problems.append(InvalidTree(where, value, expected, self._path))

    def _keys(self, table: dict[str, Any], known: tuple[str, ...], where: str) -> None:
        for key, value in table.items():
            if key not in known:
                hint = did_you_mean(key, known)
                self.wrong(f"{where}.{key}", value, f"one of the keys {', '.join(known)}{hint}")

    def _options(self, kind: Any, table: Any, where: str) -> Any:
        """An object made of a table whose keys are its parameters; None, and told, if it cannot."""
        known = tuple(inspect.signature(kind).parameters)
        if not isinstance(table, dict):
            self.wrong(where, table, f"a table of {', '.join(known)}")
            return None
        told = len(self.problems)
        self._keys(table, known, where)
        if len(self.problems) > told:
            return None
        try:
            return kind(**table)
        except InvalidChildSpec as error:
            for problem in error.problems:
                self.wrong(f"{where}.{problem.field}", problem.value, problem.expected or "")
        except (TypeError, ValueError) as error:
            self.wrong(where, table, f"other options: {error}")
        return None

    def _nested(self, where: str, make: Any) -> Any:
        """Build something, taking its problems over under our own key."""
        try:
            return make()
        except InvalidChildSpec as error:
            for problem in error.problems:
                if isinstance(problem, InvalidTree):  # of an included file, which it names
                    self.problems.append(problem)
                else:
                    expected = _as_written(problem.expected)
                    self.wrong(f"{where}.{problem.field}", problem.value, expected)
        except (TypeError, ValueError) as error:
            self.wrong(where, str(error), "another value")
        return None

    def supervisor(self, table: Any, where: str) -> type[Supervisor] | None:
        if not isinstance(table, dict):
            self.wrong(where, table, "a table")
            return None
        if "include" in table:
            for key in table.keys() - {"include"}:
                self.wrong(f"{where}.{key}", table[key], "no other key beside `include`")
            given = table["include"]
            target = self._path.parent / str(given)
            if not isinstance(given, str) or not target.is_file():
                self.wrong(f"{where}.include", given, f"the path of a file; {target} is none")
                return None
            return self._nested(f"{where}.include", lambda: _load_file(target, self._above))  # type: ignore[no-any-return] # what _load_file gives
        self._keys(table, _SUPERVISOR_KEYS, where)
        strategy = self._strategy(table, where)
        decider = self._decider(table.get("decider", {}), f"{where}.decider")
        shutdown = AutoShutdown.NEVER
        given = table.get("auto_shutdown", "never")
        try:
            shutdown = AutoShutdown(given)
        except ValueError:
            self.wrong(f"{where}.auto_shutdown", given, ", ".join(m.value for m in AutoShutdown))
        children = table.get("children", [])
        specs: list[ChildSpec] = []
        if not isinstance(children, list):
            self.wrong(f"{where}.children", children, "an array of tables")
            children = []
        for at, child in enumerate(children):
            spec = self._child(child, f"{where}.children[{at}]")
            if spec is not None:
                specs.append(spec)
        if len(specs) == len(children):
            self._nested(f"{where}.children", lambda: check_children(specs, shutdown))
        name = table.get("name", "ConfiguredSupervisor")
        if not isinstance(name, str) or not name.isidentifier():
            self.wrong(f"{where}.name", name, "a name, as of a class")
            name = "ConfiguredSupervisor"
        return type(
            name,
            (Supervisor,),
            {
                "__doc__": f"Configured by {self._path}.",
                "__module__": __name__,
                "strategy": strategy,
                "decider": decider,
                "auto_shutdown": shutdown,
                "children": lambda _self: specs,
            },
        )

    def _strategy(self, table: dict[str, Any], where: str) -> Strategy:
        given = table.get("strategy", OneForOne.name)
        kind = STRATEGIES.get(given) if isinstance(given, str) else None
        if kind is None:
            hint = did_you_mean(str(given), STRATEGIES)
            self.wrong(f"{where}.strategy", given, ", ".join(STRATEGIES) + hint)
            kind = OneForOne  # its limits are checked all the same
        known = ("intensity", "period", "budget")
        limits: dict[str, Any] = {key: table[key] for key in known if key in table}
        if limits.get("intensity") == "unlimited":
            limits["intensity"] = None
        if "backoff" in table:
            limits["backoff"] = self._options(Backoff, table["backoff"], f"{where}.backoff")
        return self._nested(where, lambda: kind(**limits)) or OneForOne()

    def _decider(self, table: Any, where: str) -> dict[type[BaseException], Directive]:
        found: dict[type[BaseException], Directive] = {}
        if not isinstance(table, dict):
            self.wrong(where, table, "a table from exceptions to directives")
            return found
        for name, directive in table.items():
            path = name if ":" in name else f"builtins:{name}"
            kind = self._class(path, f"{where}.{name}", BaseException)
            try:
                member = Directive(directive)
            except ValueError:
                expected = ", ".join(m.value for m in Directive)
                self.wrong(f"{where}.{name}", directive, expected)
                continue
            if kind is not None:
                found[kind] = member
        return found

    def _class(self, path: Any, where: str, base: type) -> Any:
        try:
            return find_class(path, base)
        except NoSuchClass as reason:
            self.wrong(where, path, str(reason))
            return None

    def _child(self, table: Any, where: str) -> ChildSpec | None:
        if not isinstance(table, dict):
            self.wrong(where, table, "a table")
            return None
        self._keys(table, _CHILD_KEYS, where)
        fields = {k: v for k, v in table.items() if k in _CHILD_KEYS}
        below = fields.pop("supervisor", None)
        path = fields.pop("class", None)
        if (below is None) == (path is None):
            self.wrong(f"{where}.class", path, 'either "class" or "supervisor"')
            return None
        if below is not None:
            cls: Any = self.supervisor(below, f"{where}.supervisor")
        else:
            cls = self._class(path, f"{where}.class", pykka.Actor)
        for key, kind in (("heartbeat", Heartbeat), ("mailbox", Mailbox)):
            if key in fields:
                fields[key] = self._options(kind, fields[key], f"{where}.{key}")
        if cls is None:
            # Told above; the other fields are checked all the same.
            cls = Supervisor if below is not None else pykka.Actor
        spec: ChildSpec | None = self._nested(where, lambda: ChildSpec(cls=cls, **fields))
        assert spec is None or below is None or is_supervisor(spec.cls)
        if spec is not None and path is not None and spec.cls is not pykka.Actor:
            self._arguments(spec, where)
        return spec

    def _arguments(self, spec: ChildSpec, where: str) -> None:
        """See that the class can be called with the arguments given."""
        try:
            takes = inspect.signature(spec.cls)
        except (TypeError, ValueError):
            return  # written in C, or otherwise not to be told before it is called
        try:
            takes.bind(*spec.args, **spec.kwargs)
        except TypeError as error:
            given = {"args": list(spec.args), "kwargs": dict(spec.kwargs)}
            key = "args" if not spec.kwargs else "kwargs"
            expected = f"what {spec.cls.__name__}{takes} takes; {error}"
            self.wrong(f"{where}.{key}", given[key], expected)
