"""Run Pykka's own test suite against our classes.

The source distribution of the installed Pykka version is downloaded, its tests are unpacked into
a temporary folder, and their `conftest.py` is given our actor and future classes. Left out is
`test_threading_actor.py`: it tests that each actor has a thread of its own.

    python tests/pykka_suite.py [--sdist pykka-X.Y.Z.tar.gz] [pytest arguments]
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata

LEFT_OUT = "test_threading_actor.py"
THEIRS = "from pykka import ActorRegistry, ThreadingActor, ThreadingFuture\n"
OURS = (
    "from pykka import ActorRegistry\n"
    "from understudy.actors import ThreadingActor, ThreadingFuture\n"
)


def fetch(folder: pathlib.Path) -> pathlib.Path:
    """Download the source distribution of the installed Pykka into `folder`."""
    wanted = f"pykka=={metadata.version('pykka')}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "-q", "-d", str(folder), wanted], check=True)
    return next(folder.glob("pykka-*.tar.gz"))


def unpack(sdist: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Unpack the tests, with our classes in their conftest; returns the folder to run in."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "sdist", filter="data")
    source = next((folder / "sdist").iterdir())
    target = folder / "run"
    target.mkdir()
    shutil.copytree(source / "tests", target / "tests")
    (target / "tests" / LEFT_OUT).unlink()
    conftest = target / "tests" / "conftest.py"
    text = conftest.read_text()
    if THEIRS not in text:
        raise SystemExit(f"This Pykka's conftest.py does not hold the line {THEIRS!r} any more")
    conftest.write_text(text.replace(THEIRS, OURS))
    (target / "pytest.ini").write_text("[pytest]\naddopts = -p no:understudy -p no:asyncio\n")
    return target


def main() -> int:
    """Run the suite; the exit code is pytest's."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sdist", type=pathlib.Path, help="use this file, download nothing")
    options, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="pykka-suite-") as name:
        folder = pathlib.Path(name)
        target = unpack(options.sdist or fetch(folder), folder)
        command = [sys.executable, "-m", "pytest", "-q", "--timeout", "60", *rest, "tests"]
        return subprocess.run(command, cwd=target, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
