"""`module:Class` as text: the class it names, or why there is none and what may have been meant."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import re
import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NoSuchClass", "did_you_mean", "find_class"]

_FORM = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")
_DOTTED = re.compile(r"\w+(\.\w+)*\.[A-Z]\w*")
SHOWN = 8


class NoSuchClass(Exception):
    """A path names no class that will do; the text says what would."""


def find_class(path: Any, base: type) -> type[Any]:
    """The subclass of `base` that `module:Class` names; its module is imported.

    Raises:
        NoSuchClass: there is none.

    """
    form = f'"module:Class", a subclass of {base.__name__}'
    if not isinstance(path, str) or not _FORM.fullmatch(path):
        if isinstance(path, str) and _DOTTED.fullmatch(path):
            form += f'; perhaps "{":".join(path.rsplit(".", 1))}"'
        raise NoSuchClass(form)
    module_name, _, name = path.partition(":")
    found: Any = _module(module_name, form)
    for part in name.split("."):
        inside = found
        try:
            found = getattr(inside, part)
        except AttributeError:
            raise NoSuchClass(f"{form}; {_no_attribute(inside, part, base)}") from None
    if not (isinstance(found, type) and issubclass(found, base)):
        raise NoSuchClass(f"{form}; this is {found!r}")
    return found


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'this'?` where one of the words is near, else nothing."""
    near = difflib.get_close_matches(word, list(words), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _module(name: str, form: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is not None and (name + ".").startswith(missing.name + "."):
            raise NoSuchClass(f"{form}; {_no_module(missing.name)}") from None
        reason: BaseException = missing
    except Exception as error:
        reason = error
    text = f"{type(reason).__name__}: {reason}"
    if "partially initialized module" in text:
        raise NoSuchClass(
            f"{form}; {name} and a module it imports import each other in a circle ({text}): move "
            "what both need into a third"
        ) from reason
    raise NoSuchClass(
        f"{form}, of a module that can be imported; {name} raised {text}{_place(reason)}"
    ) from reason


def _no_module(name: str) -> str:
    above, _, last = name.rpartition(".")
    text = f"there is no module {name!r}"
    if not above:
        return f"{text} here or among the installed packages; is its folder on PYTHONPATH?"
    there = [module.name for module in pkgutil.iter_modules(sys.modules[above].__path__)]
    if not there:
        return text
    return f"{text}; {above} has {_some(there)}{did_you_mean(last, there)}"


def _no_attribute(inside: Any, name: str, base: type) -> str:
    where = getattr(inside, "__name__", repr(inside))
    fitting = [
        key
        for key, value in vars(inside).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == getattr(inside, "__module__", where)
    ]
    text = f"{where} has no {name!r}"
    return f"{text}, but {_some(fitting)}{did_you_mean(name, fitting)}" if fitting else text


def _some(words: list[str]) -> str:
    words = sorted(words)
    return ", ".join(words[:SHOWN]) + (", …" if len(words) > SHOWN else "")


def _place(error: BaseException) -> str:
    """Where in the reader's own code an import failed."""
    if isinstance(error, SyntaxError):
        return ""  # its text has the place
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith("<frozen") and f.filename != __file__]
    own = [f for f in own if f.filename != importlib.__file__]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
