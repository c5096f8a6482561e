"""Every small example runs as printed, ends by itself and says what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name, *arguments, folder=None):
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder or EXAMPLES.parent,
        env={k: v for k, v in os.environ.items() if not k.startswith("UNDERSTUDY_")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_every_small_example_is_tested_here():
    tested = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert path.name == "__init__.py" or f'"{path.name}"' in tested


def test_actors_are_subclassed():
    lines = run("subclass_actors.py").splitlines()
    assert lines == [
        "hamlet: 10 words",
        "macbeth: 10 words",
        "tempest: 9 words",
        "most common: [('tomorrow', 3), ('to', 2), ('be', 2)]",
        "paths: /user/collector /user/reader /user/library",
        "dead letter: Count(title='late', text='too late') for /user/reader",
        "refused: ActorDeadError",
    ]


@pytest.mark.slow
def test_a_strategy_is_configured():
    lines = run("supervision_strategy.py").splitlines()
    assert lines == [
        "children: ['room', 'store']",
        "said: still here",
        "restarts so far: 0",
        "restarted: /user/chat/room",
        "lines kept by the store: 2",
        "restarted: /user/chat/room /user/chat/store",
        "a fresh store counts from 1",
        "chat ended: RestartLimit alive: False",
    ]


@pytest.mark.slow
def test_a_tree_is_configured_by_its_file():
    lines = run("print_shop.py").splitlines()
    assert lines[:3] == [
        "printed a poster",
        "restarted: /user/print_shop/presses/letterpress",
        "printed another",
    ]
    assert lines[3].startswith("earned: ")
    assert lines[3].endswith(" EUR")
    assert lines[4:] == [
        "/user/print_shop: PrintShop, restarted 0x",
        "/user/print_shop/ledger: Ledger, restarted 0x",
        "/user/print_shop/presses: Presses, restarted 0x",
        "/user/print_shop/presses/offset: Press, restarted 0x",
        "/user/print_shop/presses/letterpress: Press, restarted 1x",
        "/user/print_shop/customer: Customer, restarted 0x",
    ]


@pytest.mark.slow
def test_an_account_survives_a_kill():
    lines = run("durable_account.py").splitlines()
    assert lines == [
        "deposit 100: 100",
        "withdraw 25: 75",
        "withdraw 1000: only 75 there",
        "second process: balance 105 - kill -9",
        "second process ended by signal 9",
        "after the kill: 105",
        "  1 account.deposited {'amount': 100}",
        "  2 account.withdrawn {'amount': 25}",
        "  3 account.deposited {'amount': 30}",
    ]


def test_an_agent_echoes():
    lines = run("echo_agent.py").splitlines()
    assert [line.split()[0] for line in lines[:-2]] == [str(n) for n in range(1, len(lines) - 1)]
    assert lines[-3].endswith("message hello there (number 1)")
    assert lines[-2] == "answer: and again (number 2)"
    assert lines[-1].startswith("same answer: True frames: ")


@pytest.mark.slow
def test_a_benchmark_is_written(tmp_path):
    told = run("write_a_benchmark.py", "--quick", "--out", str(tmp_path / "out"), folder=tmp_path)
    assert "words/count" in told
    assert "split" in told
    assert "regex" in told
