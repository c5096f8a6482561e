"""How the command speaks: results on standard output, everything else on standard error."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

from understudy.actors import StartFailed
from understudy.storage import UnderstudyError
from understudy.supervision import InvalidChildSpec

EXIT_ERROR = 2
DEFAULT_DATA_DIR = ".understudy"
CONFIG_VARIABLE = "UNDERSTUDY_CONFIG"
CONFIG_FILE = "understudy.toml"


class BadSetting(UnderstudyError):
    """A value from the command line or the environment that cannot be used."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"{name} is {value!r}; {expected}")


def data_directory(given: Path | None, config: Path | None = None) -> Path:
    """The data directory, for all commands the same.

    The option, else `UNDERSTUDY_DATA_DIR`, else `data_dir` of the configuration file (`config`,
    else what `UNDERSTUDY_CONFIG` names, else `understudy.toml` here), else `.understudy` here.

    Raises:
        ConfigError: the file holds what is not accepted.
        FileNotFoundError: the file that was named is not there.
    """
    if given is not None:
        return given
    named = os.environ.get("UNDERSTUDY_DATA_DIR")
    if not named and (config or os.environ.get(CONFIG_VARIABLE) or Path(CONFIG_FILE).is_file()):
        from understudy.actors import Config  # no room is loaded for nothing

        named = Config.load(config).data_dir
    return Path(named or DEFAULT_DATA_DIR)


def read_port(text: str) -> int:
    """The port in `PORT`.

    Raises:
        BadSetting: It is no port.
    """
    if not (text.isascii() and text.isdecimal() and int(text) <= 65535):
        raise BadSetting("PORT", text, "give a number from 0 to 65535, or unset it")
    return int(text)


def explain(error: BaseException) -> str:
    """One line that says what went wrong and what to do.

    Errors of starting wrap their cause; the cause is what the reader can act on. So the innermost
    error of ours speaks; where there is none, the innermost of the operating system.
    """
    chain: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and inner not in chain:
        chain.append(inner)
        cause = getattr(inner, "cause", None)  # of some errors of ours it is a text
        inner = cause if isinstance(cause, BaseException) else inner.__cause__
    ours = [link for link in chain if isinstance(link, UnderstudyError)]
    systems = [link for link in chain if isinstance(link, OSError)]
    told = (ours or systems or [error])[-1]
    if isinstance(told, StartFailed):
        # The outermost names the whole line of actors down to the cause.
        told = next(link for link in ours if isinstance(link, StartFailed))
    if isinstance(told, OSError) and not isinstance(told, UnderstudyError):
        where = f"{told.filename}: " if told.filename else ""
        text = f"{where}{told.strerror or told}"
    else:
        text = str(told) or type(told).__name__
    return " ".join(text.split())


def complaints(error: BaseException) -> list[str]:
    """What went wrong, a line for each mistake."""
    if isinstance(error, InvalidChildSpec):
        return [explain(problem) for problem in error.problems]
    return [explain(error)]


def nobody_reads() -> bool:
    """Whether the reader of standard output has gone; what is written there is then dropped."""
    if not hasattr(select, "poll"):
        return False  # Windows
    output = sys.stdout.fileno()
    waiting = select.poll()
    waiting.register(output, 0)
    if not waiting.poll(0):
        return False
    # Python would complain once more while it flushes standard output at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def complain(text: str) -> None:
    """Print one line of error."""
    print(f"understudy: error: {text}", file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Print one line for the person at the terminal."""
    print(f"understudy: {text}", file=sys.stderr, flush=True)
