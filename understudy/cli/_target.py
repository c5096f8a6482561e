"""Finding what `understudy serve module:app` shall serve."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.storage import UnderstudyError

if TYPE_CHECKING:
    from types import ModuleType

DEFAULT_ATTRIBUTE = "app"
EXAMPLE = "understudy serve office:app"


class BadTarget(UnderstudyError):
    """What was named cannot be found, or is nothing that can be served.

    Attributes:
        target: What was named.
    """

    def __init__(self, target: str, reason: str, doing: str = "serve") -> None:
        super().__init__(f"cannot {doing} {target!r}: {reason}")
        self.target = target
        self.reason = reason


def load(target: str, doing: str = "serve") -> Any:
    """The object that `module:attribute` or `path/to/file.py:attribute` names.

    The working directory is searched first, as with `python -m`; the attribute may be left out
    where it is `app`, and may be dotted. `doing` is the verb of the errors.

    Raises:
        BadTarget: There is no such module or attribute. What the module itself raises while it is
            imported passes through.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name:
        raise BadTarget(target, f"no module is named; it looks like  {EXAMPLE}", doing)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    module = _module(target, module_name, doing)
    found: Any = module
    for name in (attribute or DEFAULT_ATTRIBUTE).split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise BadTarget(target, _no_attribute(module, name), doing) from None
    return found


def _module(target: str, name: str, doing: str) -> ModuleType:
    if name.endswith(".py") or "/" in name:
        path = Path(name)
        if not path.is_file():
            raise BadTarget(target, f"there is no file {name!r} in {Path.cwd()}", doing)
        parent = str(path.resolve().parent)
        if parent not in sys.path:
            sys.path.insert(0, parent)
        name = path.stem
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        # A module that is there and itself misses another is the other's fault.
        if missing.name is None or not (name + ".").startswith(missing.name + "."):
            raise
        raise BadTarget(
            target,
            f"there is no module {missing.name!r}; it was looked for in {Path.cwd()} "
            "and among the installed packages",
            doing,
        ) from None


def _no_attribute(module: ModuleType, name: str) -> str:
    likely = sorted(
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", module.__name__) in {module.__name__, None}
    )
    what = f"module {module.__name__!r} has no {name!r}"
    return f"{what}; it has {', '.join(likely[:8])}" if likely else what


def factory_wants(found: Any) -> tuple[str, ...] | None:
    """What a factory asks for (`config`, `system`, both or nothing); `None` if it is none.

    A function or class counts as a factory if each parameter it needs is called `config` or
    `system`, or is annotated with `Config` or `ActorSystem`. An ASGI application needs three
    parameters (`scope`, `receive`, `send`), so the two cannot be mistaken for one another.
    """
    if not (inspect.isfunction(found) or inspect.isclass(found) or inspect.ismethod(found)):
        return None
    if inspect.iscoroutinefunction(found):
        return None
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return None
    wants = []
    for parameter in parameters:
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        role = _role(parameter)
        if role is not None:
            wants.append(f"{parameter.name}={role}")
        elif parameter.default is parameter.empty:
            return None
    return tuple(wants)


def odd_parameters(found: Any) -> list[str]:
    """Names of the parameters that make a function neither a factory nor an application.

    An application is called with three arguments; a function that cannot be is none.
    """
    if not (inspect.isfunction(found) or inspect.ismethod(found)):
        return []
    signature = inspect.signature(found)
    try:
        signature.bind({}, None, None)
    except TypeError:
        return [
            name
            for name, parameter in signature.parameters.items()
            if parameter.default is parameter.empty and _role(parameter) is None
        ]
    return []


def _role(parameter: inspect.Parameter) -> str | None:
    annotation = parameter.annotation
    # Text where the module postpones annotations: 'us.Config', 'Config | None'.
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    names = {part.strip().rpartition(".")[2] for part in str(text).split("|")}
    if "Config" in names or parameter.name == "config":
        return "config"
    if "ActorSystem" in names or parameter.name == "system":
        return "system"
    return None
