"""What README and docs print runs as printed; the headings of the semantics are kept."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What the programs of the README print, in their order there.
README_PRINTS = ("1 2\n1\n", "first 5\nsecond 10\n")


def programs() -> list[Any]:
    """Blocks that import understudy themselves are programs; others are fragments."""
    found = []
    for page in PAGES:
        for number, block in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), 1):
            if "import understudy" in block:
                found.append(pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}"))
    return found


def run(program: str, folder: pathlib.Path) -> str:
    script = folder / "program.py"
    script.write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "UNDERSTUDY_DATA_DIR": str(folder / "data")},
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("program", programs())
def test_a_printed_program_runs(program: str, tmp_path: pathlib.Path) -> None:
    assert "Traceback" not in run(program, tmp_path)


def test_the_programs_of_the_readme_print_what_it_says(tmp_path: pathlib.Path) -> None:
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert tuple(run(block, tmp_path) for block in blocks) == README_PRINTS


def test_the_first_program_of_the_readme_has_at_most_25_lines() -> None:
    first = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0]
    assert len(first.splitlines()) <= 25


def test_every_local_link_of_the_documents_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {target}")
    assert not broken


def test_no_heading_of_the_semantics_is_said_twice() -> None:
    headings = re.findall(
        r"^#+ (.+)$", (ROOT / "docs/semantics.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(headings) == len(set(headings))
    assert "Not promised" in headings
