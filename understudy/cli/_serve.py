"""`understudy serve`: one command from a module to a running, durable server."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import multiprocessing
import os
import signal
import sys
import threading
import traceback
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from understudy import gateway
from understudy.actors import Config
from understudy.actors._runtime import on_new_runtime
from understudy.agents import SessionHost
from understudy.cli._branch import Branch
from understudy.cli._console import (
    EXIT_ERROR,
    BadSetting,
    complain,
    complaints,
    data_directory,
    explain,
    note,
    read_port,
)
from understudy.cli._target import EXAMPLE, BadTarget, factory_wants, load, odd_parameters
from understudy.gateway import MissingExtra
from understudy.observability import configure_logging
from understudy.storage import UnderstudyError
from understudy.supervision import ActorSystem, SystemFailed

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from starlette.types import ASGIApp

WEB = ("starlette", "uvicorn", "websockets")
EXIT_SYSTEM_FAILED = 1


class BadDataDirectory(UnderstudyError):
    """The data directory cannot be made or written."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(
            f"cannot write the data directory {str(directory)!r}: {reason}; "
            "name another with --data-dir or UNDERSTUDY_DATA_DIR"
        )


class NothingToServe(UnderstudyError):
    """Neither a target nor a tree was named."""

    def __init__(self) -> None:
        super().__init__(
            f"nothing to serve: name an application ({EXAMPLE}), a tree of supervisors "
            "(--tree shop.toml), or both"
        )


@dataclass(frozen=True)
class Options:
    """The command's options, as plain data: a reloader hands them to its child process."""

    target: str | None
    host: str | None
    port: int | None
    data_dir: Path
    config: Path | None
    log_level: str
    shutdown_timeout: float | None
    tree: Path | None = None

    @property
    def what(self) -> str:
        """What is served, for people."""
        return " and ".join(str(part) for part in (self.target, self.tree) if part is not None)


def serve(
    target: Annotated[
        str | None,
        typer.Argument(
            help="module:attribute or file.py:attribute; the attribute may be left out if it is "
            "'app'. It is an ASGI application, a SessionHost, or a function of 'system' and/or "
            "'config' that returns one of them. May be left out beside --tree.",
            show_default=False,
        ),
    ] = None,
    tree: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with a tree of supervisors to run, alone or beside the target.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; else gateway.host of the config.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port; 0 takes a free one. Else PORT, else gateway.port (3030)."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where everything is kept; else UNDERSTUDY_DATA_DIR, else .understudy."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-f", help="TOML file with settings.")
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Restart when a Python or TOML file here changes.")
    ] = False,
    log_level: Annotated[str, typer.Option(help="Least level of log records shown.")] = "warning",
    shutdown_timeout: Annotated[
        float | None,
        typer.Option(min=0.1, help="Seconds for the ordered stop; else shutdown_timeout (30)."),
    ] = None,
) -> None:
    """Serve sessions over WebSocket and HTTP, and run trees of actors.

    The system keeps everything in its data directory: stop the server in whatever way, start it
    again, and every session goes on where it was. Ctrl-C or SIGTERM stops it in order (exit code
    0); a second Ctrl-C stops it at once.

    Examples:
      understudy serve office:app
      understudy serve office:app --port 8080 --reload
      PORT=8080 UNDERSTUDY_DATA_DIR=/var/lib/office understudy serve office:app
      understudy serve --tree shop.toml
    """
    end_on_signals()
    if target is None and tree is None:
        raise NothingToServe
    for package in WEB:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("web", package)
    options = Options(
        target=target,
        tree=tree,
        host=host,
        port=port,
        data_dir=data_directory(data_dir, config).absolute(),
        config=config,
        log_level=log_level,
        shutdown_timeout=shutdown_timeout,
    )
    configure_logging(_level(log_level))
    settings = read_settings(options)
    from understudy.gateway._server import bind

    listener = bind(*address(options, settings))
    try:
        prepare(options.data_dir)
        if reload:
            from understudy.cli._reload import reload_with

            code = reload_with(functools.partial(run_child, options), listener)
        else:
            code = run(options, listener)
    finally:
        listener.close()
    raise typer.Exit(code)


def end_on_signals() -> None:
    """Have a signal that comes before the server has its own answer end the process in order."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end)


def _end(_: int, __: FrameType | None) -> None:
    raise SystemExit(0)


def _level(name: str) -> str:
    try:
        configure_logging(name)
    except ValueError as error:
        raise BadSetting("--log-level", name, str(error)) from None
    return name


def read_settings(options: Options) -> Config:
    """The configuration of this run."""
    return Config.load(options.config, data_dir=str(options.data_dir))


def address(options: Options, settings: Config) -> tuple[str, int]:
    """Host and port: the options, else `PORT`, else the configuration."""
    port = options.port
    if port is None:
        text = os.environ.get("PORT")
        port = read_port(text) if text else settings.gateway.port
    return options.host or settings.gateway.host, port


def prepare(directory: Path) -> None:
    """Make the data directory if it is missing, and see that it can be written.

    Raises:
        BadDataDirectory: It cannot; said before anything is started.
    """
    probe = directory / f".write-{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe.touch()
    except OSError as error:
        raise BadDataDirectory(directory, (error.strerror or str(error)).lower()) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    # Whatever the module makes for itself while it is imported goes to the same place.
    os.environ["UNDERSTUDY_DATA_DIR"] = str(directory)


def run(options: Options, listener: socket.socket) -> int:
    """Load the target, serve it until told to stop, stop its systems; the exit code."""
    settings = read_settings(options)
    census = Census()
    branch = None if options.tree is None else Branch(options.tree)
    try:
        application = _application(options, settings, census, branch)
    except (UnderstudyError, OSError, SystemExit):
        census.stop()
        if branch is not None and branch.up and branch.over:  # before there was anything to serve
            return _outcome(branch)
        raise
    except Exception as error:
        # The application's own mistake: its author needs the place, so here a traceback is shown,
        # from the first line that is not ours.
        traceback.print_exception(error.with_traceback(_foreign(error)))
        complain(f"{options.what} failed while it was loaded; see above")
        census.stop()
        return EXIT_ERROR

    def started(where: str) -> None:
        print(f"understudy: serving {options.what} on {where}", flush=True)
        note(f"data in {options.data_dir}; Ctrl-C stops")

    try:
        gateway.serve(
            application,
            listener=listener,
            systems=census.systems(),
            shutdown_timeout=options.shutdown_timeout,
            on_started=started,
        )
    except SystemFailed as failed:
        complain(f"the system stopped by itself: {explain(failed)}")
        return EXIT_SYSTEM_FAILED
    return _outcome(branch)


def _outcome(branch: Branch | None) -> int:
    if branch is not None and branch.failure is not None:
        complain(branch.failure)
        return EXIT_SYSTEM_FAILED
    return 0


def _application(
    options: Options, settings: Config, census: Census, branch: Branch | None
) -> ASGIApp:
    """What is served, with the tree started in its system."""
    if branch is not None:
        branch.load()
    if options.target is None:
        assert branch is not None
        system = ActorSystem(branch.name, config=settings, data_dir=settings.data_dir)
        branch.start(system)
        # No agents, and so no sessions; health, metrics and the tree are there.
        return gateway.app(SessionHost(system, agents={}))
    found = load(options.target)
    ready = branch.start if branch is not None else None
    application = assemble(options.target, found, settings, ready)
    if branch is not None and not branch.started:
        # The target made its system itself.
        systems = census.systems()
        if len(systems) != 1:
            raise BadTarget(
                options.target,
                f"it made {len(systems)} systems, and --tree runs in one; serve a function of "
                "'system'",
            )
        branch.start(systems[0])
    return application


def _foreign(error: BaseException) -> TracebackType | None:
    ours = str(Path(__file__).parent)
    place = error.__traceback__
    while place is not None and place.tb_frame.f_code.co_filename.startswith((ours, "<frozen")):
        place = place.tb_next
    return place or error.__traceback__


def assemble(
    target: str,
    found: Any,
    settings: Config,
    ready: Callable[[ActorSystem], object] | None = None,
) -> ASGIApp:
    """The application in `found`, made by its factory if it is one.

    `ready` is called with the system that is made for a factory, before the factory is.

    Raises:
        BadTarget: It is nothing that can be served.
    """
    wants = factory_wants(found)
    if wants is not None:
        arguments: dict[str, Any] = {}
        system: ActorSystem | None = None
        for want in wants:
            name, _, role = want.partition("=")
            if role == "system" and system is None:
                system = ActorSystem(
                    target.partition(":")[0].rpartition("/")[2].removesuffix(".py"),
                    config=settings,
                    data_dir=settings.data_dir,
                )
                if ready is not None:
                    ready(system)
            arguments[name] = settings if role == "config" else system
        found = found(**arguments)
        if found is None:
            raise BadTarget(target, "the factory returned None; return the application it makes")
    elif odd := odd_parameters(found):
        raise BadTarget(
            target,
            f"nobody can say what its parameter {odd[0]!r} shall be; a function that makes an "
            "application takes 'system' and 'config', an ASGI application scope, receive, send",
        )
    if isinstance(found, SessionHost):
        found = gateway.app(found)
    if isinstance(found, ActorSystem) or not callable(found):
        raise BadTarget(
            target,
            f"it is a {type(found).__name__}; an ASGI application, a SessionHost or a function "
            "that makes one was expected",
        )
    return cast("ASGIApp", found)


class Census:
    """Every system made from now on, by whomever: a server ends only when all of them have."""

    def __init__(self) -> None:
        self._runtimes: weakref.WeakSet[Any] = weakref.WeakSet()
        on_new_runtime(self._runtimes.add)

    def systems(self) -> list[ActorSystem]:
        """Those that have not stopped, oldest first."""
        found = [runtime.system for runtime in list(self._runtimes)]
        living = [
            system
            for system in found
            # One whose making failed half-way has stopped itself and has no state yet.
            if isinstance(system, ActorSystem)
            and hasattr(system, "terminated")
            and system.state != "stopped"
        ]
        return sorted(living, key=lambda system: -system.uptime)

    def stop(self) -> None:
        """Stop what a failed start leaves behind: its threads would keep the process alive."""
        for system in reversed(self.systems()):
            with contextlib.suppress(SystemFailed):
                # That it had failed is not news: what is about to be reported is.
                system.stop()


def _end_with_parent() -> None:
    """Stop in order when the reloader is gone, killed perhaps: nobody else would stop us."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def run_child(options: Options, sockets: list[socket.socket]) -> None:
    """One life of a reloading server. Runs in a child process."""
    end_on_signals()
    configure_logging(options.log_level)
    threading.Thread(target=_end_with_parent, name="reload-parent", daemon=True).start()
    try:
        code = run(options, sockets[0])
    except (UnderstudyError, OSError) as error:
        for line in complaints(error):
            complain(line)
        code = EXIT_ERROR
    sys.exit(code)
