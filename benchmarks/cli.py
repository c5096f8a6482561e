"""`understudy bench`: run suites, list, compare, report, check."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core
from rich.console import Console
from rich.table import Table as RichTable

from understudy.benchmarks import _machine, _runner, _units, worker
from understudy.benchmarks._libraries import LIBRARIES, UnknownPeer, title
from understudy.benchmarks._paths import typed
from understudy.benchmarks._progress import watcher
from understudy.benchmarks._results import NotResults, Results
from understudy.benchmarks._scenario import REGISTRY, UnknownScenario
from understudy.benchmarks._tables import suite_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from understudy.benchmarks._scenario import Scenario
    from understudy.benchmarks._tables import Table

COMMITTED = Path("docs/benchmarks/results.json")
SUITES = "kernel, supervision, journal, sessions, savina or all"


class _RunByDefault(typer.core.TyperGroup):
    """`bench kernel --quick` means `bench run kernel --quick`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in {"-h", "--help"}):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Measure what actors and durability cost on this machine, beside other libraries. "
    f"`bench [SUITE] [OPTIONS]` runs {SUITES}; `bench run --help` lists the options.",
)

Out = Annotated[
    Path | None, typer.Option(help="Directory for results.json, report and plots.", metavar="DIR")
]


class BadOption(ValueError):
    """An option's value cannot be used; the message says what can."""


def _fail(error: Exception) -> typer.Exit:
    Console(stderr=True).print(str(error), style="red", markup=False)
    return typer.Exit(2)


def _load_suites(scripts: list[Path] | None = None) -> None:
    from understudy.benchmarks import suites

    suites.load()
    for script in scripts or ():
        if script.suffix != ".py":
            raise BadOption(f"--load takes a Python file (.py), not {script}")
        try:
            worker.load(str(script.resolve()))
        except OSError:
            raise
        except Exception as error:
            raise BadOption(
                f"{script} cannot be loaded: {type(error).__name__}: {error}"
            ) from error


@app.command("run")
def run_command(
    suites: Annotated[list[str] | None, typer.Argument(help=f"{SUITES}.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, under two minutes.")] = False,
    peers: Annotated[
        str | None, typer.Option(help="Libraries beside ours, separated by commas; or none.")
    ] = None,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Only these scenarios; wildcards; repeatable.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Times each is measured.")] = None,
    pin: Annotated[
        str | None, typer.Option(help="Cores for pinned scenarios, as in 0,1; or none.")
    ] = None,
    limit: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds after which a measurement is cut off.")
    ] = None,
    budget: Annotated[
        int | None, typer.Option(min=100, help="Messages a Savina benchmark may need.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Results as JSON on stdout.")] = False,
    out: Out = None,
    directory: Annotated[
        Path | None, typer.Option(help="Where journals are written: the disk to measure.")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="A flame graph or table per scenario, into DIR.")
    ] = False,
    load: Annotated[
        list[Path] | None, typer.Option(help="Python file with scenarios of your own.")
    ] = None,
) -> None:
    """Run suites and print what they show.

    Exit status 0 when every measurement succeeded, 1 when one failed or gave a wrong answer, 130
    after Ctrl-C, which keeps the results so far.
    """
    try:
        _load_suites(load)
        options = _runner.Options(
            quick=quick,
            rounds=rounds,
            peers=_peers(peers),
            pin=_cores(pin),
            limit=limit,
            budget=budget,
            profile=profile,
            out=out or (Path("bench-results") if profile else None),
            directory=directory,
        )
        chosen = REGISTRY.select(suites or [], scenario or [])
        _writable(options)
    except (UnknownScenario, UnknownPeer, ValueError, OSError) as error:
        raise _fail(error) from None
    raise typer.Exit(_run(chosen, options, as_json=as_json))


def _run(chosen: list[Scenario], options: _runner.Options, *, as_json: bool) -> int:
    path = options.out / "results.json" if options.out else None
    for name in options.peers or ():
        if not any(name == body.partition("-")[0] for item in chosen for body in item.bodies):
            print(f"{title(name)} has no part in any of these scenarios", file=sys.stderr)
    with _terminable():
        results = _runner.run(
            chosen, options, watcher(), path=path, command=typed(_program(), sys.argv[1:])
        )
    if as_json:
        print(json.dumps(results.data(), indent=1))
    else:
        show(results)
    if options.out is not None and results.measurements:
        _report(results, options.out)
    if results.run["interrupted"]:
        return 130
    return 1 if results.failures() else 0


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: results so far are kept, no child is left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _program() -> str:
    """The first words of the command as it was typed: the command, `python -m`, or a script."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and Path(sys.argv[0]).name == "__main__.py":
        return f"python -m {spec.parent}"
    if sys.argv[0].endswith(".py"):
        return typed("python", sys.argv[:1])
    return Path(sys.argv[0]).name


def _peers(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    if text == "none":
        return ()
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in LIBRARIES:
            raise UnknownPeer(name, [n for n, item in LIBRARIES.items() if not item.ours])
    return names


def _cores(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    if text == "none":
        return ()
    try:
        wanted = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise BadOption(f"--pin takes core numbers, as in 0,1, or none; not {text!r}") from None
    there = _machine.cores()
    if not set(wanted) <= set(there):
        raise BadOption(f"--pin {text}: this process may run on {', '.join(map(str, there))}")
    return wanted


def _writable(options: _runner.Options) -> None:
    """Find out before the first measurement, not after it, that results cannot be written."""
    for option, place in (("--out", options.out), ("--directory", options.directory)):
        if place is None:
            continue
        try:
            if option == "--out":
                place.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=place).close()
        except OSError as error:
            raise BadOption(f"{option} {place} cannot be written to: {error.strerror}") from None


def show(results: Results) -> None:
    """Print all tables of a run on the terminal, then what failed."""
    console = Console()
    for suite in dict.fromkeys(f["suite"] for f in results.scenarios.values()):
        for table in suite_tables(results, suite, whole=False):
            _print(console, table)
    for failure in results.failures():
        console.print(
            f"{failure.scenario} · {failure.peer} did not finish: {failure.cause}",
            style="yellow",
            markup=False,
        )


def _print(console: Console, table: Table) -> None:
    if console.is_terminal:
        shown = RichTable(title=table.heading, title_justify="left")
        for column in table.columns:
            shown.add_column(column)
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
    else:
        widths = [max(len(r[i]) for r in [table.columns, *table.rows]) for i in range(len(table.columns))]  # fmt: skip  # noqa: E501  # one line reads best
        print(f"\n{table.heading}")
        for row in [table.columns, *table.rows]:
            print(
                "  ".join(
                    cell.ljust(width) for cell, width in zip(row, widths, strict=True)
                ).rstrip()
            )
    for note in table.notes:
        console.print(note, style="dim", markup=False)


def _report(results: Results, out: Path) -> None:
    from understudy.benchmarks import report

    for written in report.write(results, out):
        print(f"wrote {written}", file=sys.stderr)


@app.command("list")
def list_command(
    load: Annotated[list[Path] | None, typer.Option(help="File with scenarios.")] = None,
) -> None:
    """List suites, scenarios and libraries, and which of them are here."""
    try:
        _load_suites(load)
    except (BadOption, OSError) as error:
        raise _fail(error) from None
    for suite in REGISTRY.suites():
        print(f"\n{suite}")
        for item in REGISTRY.select([suite]):
            print(f"  {item.key:24} {item.title}  [{', '.join(item.bodies)}]")
    print("\nlibraries")
    for name, library in LIBRARIES.items():
        reason = library.missing()
        state = "here" if reason is None else f"{reason}; {library.install}"
        print(f"  {name:24} {library.title}: {state}")


@app.command("compare")
def compare_command(
    first: Annotated[Path, typer.Argument(metavar="A.json")],
    second: Annotated[Path, typer.Argument(metavar="B.json")],
) -> None:
    """Set the ratios of two runs side by side, and say which moved by more than the noise."""
    from understudy.benchmarks import _compare

    try:
        a, b = Results.load(first), Results.load(second)
    except (NotResults, OSError) as error:
        raise _fail(error) from None
    _print(Console(), _compare.table(_compare.changes(a, b), str(first), str(second)))


@app.command("report")
def report_command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Holds results.json.")],
) -> None:
    """Write report.md, report.html and the plots again from DIR/results.json."""
    try:
        results = Results.load(directory)
    except (NotResults, OSError) as error:
        raise _fail(error) from None
    _report(results, directory)


@app.command("check")
def check_command(
    against: Annotated[Path, typer.Option(help="Committed results to compare with.")] = COMMITTED,
    peers: Annotated[str, typer.Option(help="Libraries beside ours.")] = "pykka,asyncio,sqlite",
    scenario: Annotated[list[str] | None, typer.Option(help="Only these scenarios.")] = None,
) -> None:
    """Take a quick run and list the ratios that fell below the committed ones.

    What seems to have fallen is measured once more, five rounds with the sizes of the committed
    run, and listed if it fell again, beside every library it is compared with. For information:
    the exit status is 0 whatever it finds, and 130 after Ctrl-C.
    """
    from understudy.benchmarks import _compare

    try:
        before = Results.load(against)
        _load_suites()
        wanted = _peers(peers) or ()
        known = {s.name for s in REGISTRY.all()}
        there = [n for n in _compare.comparable(before, wanted) if n in known]
        chosen = REGISTRY.select((), scenario or ())
        chosen = [item for item in chosen if item.name in there]
    except (NotResults, UnknownScenario, UnknownPeer, OSError) as error:
        raise _fail(error) from None
    if not chosen:
        print(f"nothing to compare: {against} holds no ratio of these scenarios to {peers}")
        return
    now = _checked(chosen, _runner.Options(quick=True, rounds=2, peers=wanted))
    found, failures = _compare.changes(before, now, cpu=True), now.failures()
    fallen = _compare.fallen(found)
    if fallen:
        names = dict.fromkeys(change.scenario for change in fallen)
        print(f"measured again, with the sizes of {against}: {', '.join(names)}", file=sys.stderr)
        as_before = _runner.Options(
            quick=before.run["quick"],
            budget=before.run["budget"],
            rounds=_compare.ROUNDS,
            peers=wanted,
        )
        now = _checked([item for item in chosen if item.name in names], as_before)
        fallen = _compare.fallen(_compare.changes(before, now, cpu=True))
        failures += now.failures()
        if fallen:
            _print(Console(), _compare.table(fallen, str(against), "now"))
    seen = len({change.scenario for change in found})
    lost = dict.fromkeys(change.scenario for change in fallen)
    print(f"{len(found)} ratios of {seen} scenarios compared with {against}")
    print(f"fell by more than the noise: {', '.join(lost) or 'none'}")
    for failure in failures:
        print(f"{failure.scenario} · {failure.peer} did not finish: {failure.cause}")
    print(
        f"a short loop wavered by {_units.share(now.machine['noise_after'])} on this machine, "
        f"by {_units.share(before.machine.get('noise_after') or 0)} in the run compared with"
    )


def _checked(chosen: list[Scenario], options: _runner.Options) -> Results:
    """A run for `check`; Ctrl-C ends the command, since half a run compares nothing."""
    with _terminable():
        results = _runner.run(chosen, options, watcher())
    if results.run["interrupted"]:
        raise typer.Exit(130)
    return results


def run_script(arguments: list[str] | None) -> None:
    """Run what a script has declared; see `understudy.benchmarks.main`."""
    mine = [s for s in REGISTRY.all() if s.origin.endswith(".py")]
    script = typer.Typer(
        cls=_RunByDefault,
        add_completion=False,
        rich_markup_mode=None,
        help="Measure the scenarios of this script.",
    )

    @script.command("run")
    def run_own(
        quick: Annotated[bool, typer.Option("--quick")] = False,
        scenario: Annotated[list[str] | None, typer.Option()] = None,
        peers: Annotated[str | None, typer.Option()] = None,
        rounds: Annotated[int | None, typer.Option(min=1)] = None,
        pin: Annotated[str | None, typer.Option()] = None,
        limit: Annotated[float | None, typer.Option(min=0.1)] = None,
        as_json: Annotated[bool, typer.Option("--json")] = False,
        out: Out = None,
        profile: Annotated[bool, typer.Option("--profile")] = False,
    ) -> None:
        """Run the scenarios of this script."""
        try:
            options = _runner.Options(
                quick=quick,
                rounds=rounds,
                peers=_peers(peers),
                pin=_cores(pin),
                limit=limit,
                profile=profile,
                out=out or (Path("bench-results") if profile else None),
            )
            names = REGISTRY.select((), scenario or ())
            _writable(options)
        except (UnknownScenario, UnknownPeer, ValueError, OSError) as error:
            raise _fail(error) from None
        raise typer.Exit(_run([s for s in names if s in mine], options, as_json=as_json))

    @script.command("list")
    def list_own() -> None:
        """List the scenarios of this script."""
        for item in mine:
            print(f"{item.name:24} {item.title}  [{', '.join(item.bodies)}]")

    script(arguments)


__all__ = ["app", "run_script", "show"]
