"""Configuration: one frozen object, and where each of its values came from.

A TOML file, then `UNDERSTUDY_*` environment variables, then keyword arguments; the later wins. A
key or a value that is not accepted is refused, with its name, where it stands, and what would be.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from understudy.actors._errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "Config",
    "DetectorConfig",
    "DispatcherConfig",
    "EffectsConfig",
    "GatewayConfig",
    "JournalConfig",
    "PersistenceConfig",
    "RetentionConfig",
    "SessionsConfig",
]

PREFIX = "UNDERSTUDY_"
FILE = "understudy.toml"
POSITIVE = {"above": 0}
NOT_NEGATIVE = {"least": 0}


def _positive(default: Any) -> Any:
    return field(default=default, metadata=POSITIVE)


def _not_negative(default: Any) -> Any:
    return field(default=default, metadata=NOT_NEGATIVE)


@dataclass(frozen=True)
class DispatcherConfig:
    """A pool of threads.

    threads: handlers that may compute at the same time. One is best under the GIL.
    max_threads: the most threads it may have, those of blocked handlers included.
    throughput: messages one actor may handle before the others get a turn.
    """

    threads: int = _positive(1)
    max_threads: int = _positive(1024)
    throughput: int = _positive(512)


@dataclass(frozen=True)
class DetectorConfig:
    """The failure detector.

    timeout: seconds at a standstill in one handler, for classes without a `heartbeat`.
    sweep: seconds between two looks.
    """

    enabled: bool = True
    timeout: float = _positive(4.0)
    sweep: float = _positive(0.5)


@dataclass(frozen=True)
class JournalConfig:
    """The journal. durability: what a crash may cost, see `Journal.open`."""

    durability: Literal["sync", "pipelined", "relaxed"] = "sync"


@dataclass(frozen=True)
class RetentionConfig:
    """What the retention keeper takes out of the journal; without bounds every event stays.

    max_age: seconds after which events go, from an hour to 30 days.
    max_events, max_bytes: how much stays at most.
    archive: whether events go to an archive in the data directory before they are dropped.
    purge_archives: seconds after which archives are deleted; nothing keeps them for ever.
    purge_effects: seconds after which finished effects go; nothing keeps them for ever.
    interval: seconds between two rounds.
    """

    max_age: float | None = field(default=None, metadata={"least": 3600, "most": 2_592_000})
    max_events: int | None = _not_negative(None)
    max_bytes: int | None = _not_negative(None)
    archive: bool = True
    purge_archives: float | None = _positive(30 * 86400.0)
    purge_effects: float | None = _positive(30 * 86400.0)
    interval: float = _positive(3600.0)


@dataclass(frozen=True)
class PersistenceConfig:
    """Persistent actors.

    replay_batch: events read at once in a recovery.
    concurrent_recoveries: how many actors may recover at the same time.
    silence_timeout: seconds without an answer of the journal after which a recovery fails; the
        whole replay may take longer.
    """

    replay_batch: int = _positive(1000)
    concurrent_recoveries: int = _positive(50)
    silence_timeout: float = _positive(30.0)


@dataclass(frozen=True)
class SessionsConfig:
    """Sessions and their turns.

    coalesce: seconds pieces of text are gathered before they are journaled; 0: each at once.
    lease: seconds a turn may stand still without being suspected.
    max_attempts: how often a turn is taken up again after crashes.
    idle_timeout: seconds after which an idle session leaves memory.
    max_text_bytes: the longest message taken.
    history: earlier exchanges an agent is given.
    turn_timeout: seconds a turn may take; none by default.
    retry_delay: seconds before a turn is taken up again.
    """

    coalesce: float = _not_negative(0.020)
    lease: float = _positive(120.0)
    max_attempts: int = _positive(3)
    idle_timeout: float = _positive(300.0)
    max_text_bytes: int = _positive(65536)
    history: int = _not_negative(50)
    turn_timeout: float | None = _positive(None)
    retry_delay: float = _not_negative(0.0)


@dataclass(frozen=True)
class EffectsConfig:
    """The effect runner.

    sweep: seconds between looks for effects nobody has announced.
    batch: effects taken up at once.
    lease: seconds a handler may take before the effect counts as lost and is tried again.
    timeout: seconds a handler is given; the lease by default.
    max_attempts: tries before an effect fails for good; as many as it takes by default.
    retry_first, retry_factor, retry_maximum: seconds before the second try, growth, limit.
    """

    sweep: float = _positive(0.5)
    batch: int = _positive(100)
    lease: float = _positive(30.0)
    timeout: float | None = _positive(None)
    max_attempts: int | None = _positive(None)
    retry_first: float = _not_negative(0.5)
    retry_factor: float = _positive(2.0)
    retry_maximum: float = _positive(60.0)


@dataclass(frozen=True)
class GatewayConfig:
    """Where the gateway listens. Other machines reach it only if `host` says so.

    allowed_hosts: further names, separated by commas, by which the server may be called (in
        `Host`); `*` for any. On loopback the address and `localhost` are always among them, on
        other addresses an empty text means any.
    """

    host: str = "127.0.0.1"
    port: int = _not_negative(3030)
    allowed_hosts: str = ""


@dataclass(frozen=True)
class Config:
    """All settings. Make one with `Config(...)` from keyword arguments, or with `Config.load()`.

    ask_timeout: seconds an ask waits where it says nothing itself; none by default, as in Pykka.
    shutdown_timeout: seconds an ordered shutdown may take altogether.
    data_dir: the folder that the commands work in. A program that makes its own `ActorSystem`
        gives it to that: `ActorSystem(name, config=config, data_dir=config.data_dir)`.
    dispatchers: more dispatchers by name, each a table with `kind` ("pool", "thread",
        "asyncio") and for a pool `threads`, `max_threads`
            and `throughput`.

    A section may be given as a mapping. Frozen all the way down.

    Raises:
        ConfigError: a key or a value is not accepted.
    """

    ask_timeout: float | None = _positive(None)
    shutdown_timeout: float = _positive(30.0)
    data_dir: str | None = None
    dispatcher: DispatcherConfig = DispatcherConfig()
    dispatchers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    detector: DetectorConfig = DetectorConfig()
    journal: JournalConfig = JournalConfig()
    retention: RetentionConfig = RetentionConfig()
    persistence: PersistenceConfig = PersistenceConfig()
    sessions: SessionsConfig = SessionsConfig()
    effects: EffectsConfig = EffectsConfig()
    gateway: GatewayConfig = GatewayConfig()

    def __post_init__(self) -> None:
        origins: dict[str, str] = {}
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            section = SECTIONS.get(spec.name)
            if section is not None:
                if isinstance(value, section):
                    given = {
                        part.name: getattr(value, part.name)
                        for part in dataclasses.fields(section)
                        if getattr(value, part.name) != part.default
                    }
                else:
                    given = _table(spec.name, value, "keyword argument")
                made = _section(section, spec.name, given, "keyword argument", origins)
                object.__setattr__(self, spec.name, made)
            elif spec.name == "dispatchers":
                object.__setattr__(self, spec.name, _dispatchers(value, "keyword argument"))
            else:
                checked = _check(Config, spec, spec.name, value, "keyword argument")
                object.__setattr__(self, spec.name, checked)
                if value != spec.default:
                    origins[spec.name] = "keyword argument"
        object.__setattr__(self, "_origins", origins)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> Config:
        """Read the file, the environment and the keyword arguments.

        Args:
            path: a TOML file, which must be there. Optional, and if absent: what
                `UNDERSTUDY_CONFIG` names, else `understudy.toml` in the working directory, if
                it is there.
            environ: optional, and if absent the process's.
            settings: as for `Config`.

        Raises:
            ConfigError: a key or a value is not accepted.
            FileNotFoundError: the file that was named is not there.
        """
        environ = os.environ if environ is None else environ
        origins: dict[str, str] = {}
        merged: dict[str, Any] = {}
        for source, table in (
            *_file(path, environ),
            *_environment(environ),
            ("keyword argument", settings),
        ):
            _merge(merged, table, source, origins)
        config = cls(**merged)
        object.__setattr__(config, "_origins", origins)
        return config

    def origin(self, name: str) -> str:
        """Where the value of a setting ("gateway.port") came from: "default" if nobody set it."""
        origins: dict[str, str] = self.__dict__["_origins"]
        return origins.get(name, "default")

    def get(self, name: str) -> Any:
        """The value of a setting by its dotted name.

        Raises:
            KeyError: there is no such setting.
        """
        value: Any = self
        for part in name.split("."):
            if not hasattr(value, part) or part.startswith("_"):
                raise KeyError(name)
            value = getattr(value, part)
        return value

    def items(self) -> Iterator[tuple[str, Any, str]]:
        """Every setting: its dotted name, its value, its origin."""
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if spec.name in SECTIONS:
                for part in dataclasses.fields(value):
                    name = f"{spec.name}.{part.name}"
                    yield name, getattr(value, part.name), self.origin(name)
            elif spec.name == "dispatchers":
                for key, table in value.items():
                    for option, given in table.items():
                        yield f"dispatchers.{key}.{option}", given, self.origin("dispatchers")
            else:
                yield spec.name, value, self.origin(spec.name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as a TOML file would hold it."""
        data: dict[str, Any] = {}
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                value = dataclasses.asdict(value)
            elif spec.name == "dispatchers":
                table: Any = value
                value = {key: dict(options) for key, options in table.items()}
            data[spec.name] = value
        return data


SECTIONS: dict[str, type[Any]] = {
    "dispatcher": DispatcherConfig,
    "detector": DetectorConfig,
    "journal": JournalConfig,
    "retention": RetentionConfig,
    "persistence": PersistenceConfig,
    "sessions": SessionsConfig,
    "effects": EffectsConfig,
    "gateway": GatewayConfig,
}


def _file(
    path: str | os.PathLike[str] | None, environ: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    named = path or environ.get(f"{PREFIX}CONFIG")
    file = Path(named) if named else Path(FILE)
    if not named and not file.is_file():
        return
    try:
        with file.open("rb") as stream:
            table = tomllib.load(stream)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            str(file), "", "a TOML file", str(file), text=f"{file} is no TOML file: {error}"
        ) from error
    yield f"file {file}", table


def _environment(environ: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    names = {name.upper(): (name, "") for name in _top()}
    for section, cls in SECTIONS.items():
        for part in dataclasses.fields(cls):
            names[f"{section}_{part.name}".upper()] = (section, part.name)
    sections = tuple(f"{section.upper()}_" for section in SECTIONS)
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        rest = variable[len(PREFIX) :]
        found = names.get(rest)
        if found is None:
            near = difflib.get_close_matches(rest, names, n=1, cutoff=0.85)
            if rest.startswith(sections) or near:
                accepted = sorted(PREFIX + name for name in names if _same_part(name, rest))
                raise ConfigError(
                    variable, environ[variable], f"use one of {', '.join(accepted)}", "environment"
                )
            continue
        key, option = found
        text = _Text(environ[variable])
        yield f"environment {variable}", {key: {option: text} if option else text}


def _same_part(name: str, rest: str) -> bool:
    head = rest.split("_", 1)[0]
    return name.startswith(head) or bool(difflib.get_close_matches(rest, [name], cutoff=0.7))


class _Text(str):
    """A value from the environment, still to be read as what the setting is."""

    __slots__ = ()


def _top() -> list[str]:
    return [
        spec.name
        for spec in dataclasses.fields(Config)
        if spec.name not in SECTIONS and spec.name != "dispatchers"
    ]


def _merge(
    merged: dict[str, Any], table: Mapping[str, Any], source: str, origins: dict[str, str]
) -> None:
    known = [spec.name for spec in dataclasses.fields(Config)]
    for key, value in table.items():
        if key not in known:
            raise ConfigError(key, value, f"use one of {', '.join(known)}", source)
        section = SECTIONS.get(key)
        if section is not None:
            parts = dataclasses.asdict(value) if isinstance(value, section) else value
            made = _section(section, key, _table(key, parts, source), source, {})
            target = merged.setdefault(key, {})
            for part in parts:
                target[part] = getattr(made, part)
                origins[f"{key}.{part}"] = source
        elif key == "dispatchers":
            merged[key] = {**merged.get(key, {}), **_dispatchers(value, source)}
            origins[key] = source
        else:
            merged[key] = _check(Config, Config.__dataclass_fields__[key], key, value, source)
            origins[key] = source


def _table(key: str, value: Any, source: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(key, value, "a table of settings", source)
    return value


def _section(
    cls: type[Any], name: str, given: dict[str, Any], source: str, origins: dict[str, str]
) -> Any:
    parts = {part.name: part for part in dataclasses.fields(cls)}
    checked = {}
    for key, value in given.items():
        if key not in parts:
            raise ConfigError(f"{name}.{key}", value, f"use one of {', '.join(parts)}", source)
        checked[key] = _check(cls, parts[key], f"{name}.{key}", value, source)
        origins[f"{name}.{key}"] = source
    return cls(**checked)


def _dispatchers(value: Any, source: str) -> Mapping[str, Mapping[str, Any]]:
    made = {}
    for name, table in _table("dispatchers", dict(value), source).items():
        options = dict(_table(f"dispatchers.{name}", dict(table), source))
        kind = options.pop("kind", "pool")
        if kind not in ("pool", "thread", "asyncio"):
            raise ConfigError(
                f"dispatchers.{name}.kind", kind, "use 'pool', 'thread' or 'asyncio'", source
            )
        if kind == "pool":
            pool = _section(DispatcherConfig, f"dispatchers.{name}", options, source, {})
            options = {key: getattr(pool, key) for key in options}
        elif options:
            raise ConfigError(
                f"dispatchers.{name}", options, f"a {kind} dispatcher has no options", source
            )
        made[name] = types.MappingProxyType({"kind": kind, **options})
    return types.MappingProxyType(made)


_hints: dict[type[Any], dict[str, Any]] = {}


def _check(cls: type[Any], spec: dataclasses.Field[Any], name: str, value: Any, source: str) -> Any:
    hints = _hints.get(cls)
    if hints is None:
        hints = _hints[cls] = typing.get_type_hints(cls, globalns={**globals(), "Mapping": dict})
    wanted = hints[spec.name]
    options = typing.get_args(wanted)
    optional = type(None) in options
    choices = options if typing.get_origin(wanted) is Literal else ()
    if optional:
        wanted = next(option for option in options if option is not type(None))
    accepted = _accepted(wanted, choices, spec.metadata, optional=optional)
    if isinstance(value, _Text):
        value = _read(str(value), wanted, optional=optional)
    if value is None and optional:
        return None
    if choices:
        good = value in choices
    elif wanted is bool:
        good = isinstance(value, bool)
    elif wanted is int:
        good = isinstance(value, int) and not isinstance(value, bool)
    elif wanted is float:
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        value = float(value) if good else value  # pyright: ignore[reportArgumentType]
        good = good and math.isfinite(value)
    else:
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        good = isinstance(value, str)
    if good and "above" in spec.metadata:
        good = value > spec.metadata["above"]
    if good and "least" in spec.metadata:
        good = value >= spec.metadata["least"]
    if good and "most" in spec.metadata:
        good = value <= spec.metadata["most"]
    if not good:
        raise ConfigError(name, value, accepted, source)
    return value


def _accepted(wanted: Any, choices: Any, metadata: Any, *, optional: bool) -> str:
    if choices:
        text = f"use one of {', '.join(map(repr, choices))}"
    else:
        text = {bool: "true or false", int: "a whole number", float: "a number"}.get(wanted, "text")
    if "above" in metadata:
        text += f" above {metadata['above']}"
    if "least" in metadata:
        text += f" of at least {metadata['least']}"
    if "most" in metadata:
        text += f" and at most {metadata['most']}"
    return f"{text}, or nothing" if optional else text


def _read(text: str, wanted: Any, *, optional: bool) -> Any:
    """Read text from the environment; what cannot be read is left for the check to refuse."""
    if optional and text.strip().lower() in {"", "none", "null"}:
        return None
    if wanted is bool:
        return {
            "1": True, "true": True, "yes": True, "on": True,
            "0": False, "false": False, "no": False, "off": False,
        }.get(text.strip().lower(), text)  # fmt: skip
    if wanted in (int, float):
        try:
            return wanted(text.strip())
        except ValueError:
            return text
    return text
