"""Results show no path of the machine they come from."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from understudy.benchmarks import _paths

ROOT = _paths.ROOT
CRASHING = """
from pathlib import Path

from understudy.benchmarks import Bench, main, scenario


@scenario("own/missing", peers=("reads", "hangs", "dies"), limit=1.0, warm=False)
def missing(bench: Bench) -> None:
    "Fails in several ways."
    if bench.peer == "hangs":
        import threading

        threading.Event().wait()
    if bench.peer == "dies":
        import os

        os.write(2, (str(Path.home() / "a file") + " is broken").encode())
        os._exit(3)
    (Path.cwd() / "no such file").read_text()


main()
"""


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (f"{ROOT}/benchmarks/worker.py", "understudy/benchmarks/worker.py"),
        (f"{sysconfig.get_path('purelib')}/thespian/actors.py", "thespian/actors.py"),
        (f"{sysconfig.get_path('stdlib')}/json/decoder.py", "json/decoder.py"),
        ("/etc/hosts", "/etc/hosts"),
        (f"{ROOT}s/worker.py", None),
    ],
)
def test_a_file_is_shown_from_its_package_on(path, shown):
    found = _paths.shortened(f'File "{path}", line 3')
    if shown is None:  # a neighbour whose name begins as the checkout's does
        assert "understudy/" not in found
    else:
        assert found == f'File "{shown}", line 3'


def test_the_working_directory_and_home_are_not_named(home, tmp_path):
    text = f"{tmp_path}/work/a.py, {tmp_path}/work and {home}/b.py"
    assert _paths.shortened(text) == "a.py, . and ~/b.py"


def test_a_command_is_kept_as_typed_but_for_where_home_is(home, tmp_path):
    typed = _paths.typed(
        "understudy",
        [
            "bench",
            "--scenario",
            "append*",
            "--out",
            f"{home}/two words",
            f"{tmp_path}/work/x",
            "/tmp/y",
        ],
    )
    assert typed == "understudy bench --scenario 'append*' --out ~/'two words' x /tmp/y"


def test_a_run_in_another_folder_names_neither_home_nor_checkout_nor_folder(tmp_path):
    folder, home = tmp_path / "work", tmp_path / "home"
    for place in (folder, home):
        place.mkdir()
    script = folder / "mine.py"
    script.write_text(CRASHING, encoding="utf-8")
    subprocess.run(
        [sys.executable, "mine.py", "--rounds", "1", "--out", str(folder / "out")],
        cwd=folder, env={**os.environ, "HOME": str(home)}, capture_output=True, timeout=60,
        check=False,
    )  # fmt: skip
    results = (folder / "out" / "results.json").read_text(encoding="utf-8")
    report = (folder / "out" / "report.md").read_text(encoding="utf-8")
    assert '"command": "python mine.py --rounds 1 --out out"' in results
    assert "FileNotFoundError: [Errno 2] No such file or directory: 'no such file'" in report
    assert "no result within 1 s, in missing (mine.py:" in report
    assert "ended with status 3: ~/a file is broken" in report
    for named in (tmp_path, ROOT, Path(sys.prefix), Path(sysconfig.get_path("stdlib"))):
        assert str(named) not in results
        assert str(named) not in report
