"""The Librarian as a user starts it: a process, its port, its data directory, its end."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from typing import Any

import pytest
from websockets.asyncio.client import connect

from examples.librarian.corpus import PythonCorpus
from examples.librarian.index import open_index
from tests.examples.librarian_process import ROOT, LibrarianProcess
from tests.examples.model_server import ModelServer

pytestmark = pytest.mark.slow
WITH = "What does the with statement do?"


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("indexed")
    open_index(PythonCorpus(), folder)
    return folder


@pytest.fixture
def data_dir(tmp_path, indexed):
    shutil.copytree(indexed, tmp_path / "data" / "librarian")
    return tmp_path / "data"


def refused(process):
    finished = subprocess.run(
        process.command,
        env=process.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 2, finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
    return finished.stderr


async def talk(url, text, message_id):
    """Ask through a plain WebSocket client; return the frames."""
    frames: list[dict[str, Any]] = []
    async with connect(
        f"{url.replace('http', 'ws')}/v1/sessions/ada/librarian/ws1/ws?after=0"
    ) as socket:
        await socket.send(
            json.dumps({"type": "user_message", "text": text, "message_id": message_id})
        )
        while not frames or frames[-1]["type"] not in {"message", "error"}:
            frames.append(json.loads(await asyncio.wait_for(socket.recv(), 30)))
    return frames


def test_a_fresh_data_directory_a_question_and_an_orderly_end(tmp_path):
    with LibrarianProcess(tmp_path / "new" / "data") as server:
        frames = asyncio.run(talk(server.url, WITH, "m1"))
        assert frames[-1]["data"]["sources"][0]["title"] == "The with statement"
        assert "".join(f.get("value", "") for f in frames) == frames[-1]["message"]
        assert [f["seq"] for f in frames] == list(range(1, len(frames) + 1))
        status, body = server.get("/")
        assert status == 200
        assert b"The Librarian" in body
        assert server.stop() == 0
    assert (server.data_dir / "librarian").is_dir()


def test_ctrl_c_ends_it_in_order_too(data_dir):
    with LibrarianProcess(data_dir) as server:
        assert server.stop(signal.SIGINT) == 0


def test_what_was_said_is_there_after_kill_9(data_dir):
    with LibrarianProcess(data_dir, pace=0.0) as server:
        server.ask("t1", WITH, "m1")
        server.kill()
        server.start()
        answer = server.ask("t1", "What was my first question?", "m2")
        assert answer["message"] == f"Your first question here was “{WITH}”."
        # the same message under the same name is the same answer, and nothing new
        assert server.ask("t1", WITH, "m1")["message"].startswith("The `with` statement")


def test_a_second_server_on_the_same_data_directory_is_refused(data_dir):
    with LibrarianProcess(data_dir) as first:
        said = refused(LibrarianProcess(data_dir))
        assert str(data_dir) in said
        assert first.healthy()


def test_a_busy_port_is_named(data_dir, tmp_path):
    with LibrarianProcess(data_dir) as first:
        second = LibrarianProcess(tmp_path / "other")
        second.environment["PORT"] = str(first.port)
        said = refused(second)
        assert str(first.port) in said
        assert "in use" in said


def test_a_data_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    said = refused(LibrarianProcess(tmp_path / "file" / "data"))
    assert str(tmp_path / "file" / "data") in said


def test_docs_that_are_missing_or_empty_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "there is no such folder" in refused(
        LibrarianProcess(tmp_path / "d", docs=tmp_path / "nowhere")
    )
    assert "no document in this folder" in refused(
        LibrarianProcess(tmp_path / "d", docs=tmp_path / "empty")
    )
    assert not (tmp_path / "d").exists()


def test_docs_of_one_s_own_are_answered_from(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "pumps.md").write_text("# Pumps\n\nEvery pump needs oil once a week.\n")
    with LibrarianProcess(tmp_path / "data", docs=tmp_path / "docs", pace=0.0) as server:
        answer = server.ask("t1", "How often does a pump need oil?", "m1")
        assert answer["data"]["sources"][0]["location"] == "pumps.md:3"
        _, about = server.get("/librarian/about")
        assert json.loads(about)["suggestions"] == ["What is said about Pumps?"]


def test_a_setting_that_cannot_be_used_is_refused_before_anything_starts(tmp_path):
    said = refused(LibrarianProcess(tmp_path / "data", LIBRARIAN_WEBHOOK="nowhere"))
    assert "LIBRARIAN_WEBHOOK='nowhere'" in said


def test_the_environment_has_a_model_word_the_answers(data_dir):
    with ModelServer() as model:
        model.behaviour = [["It wraps", " a block [1]."]]
        environment = {
            "OPENAI_BASE_URL": model.url,
            "OPENAI_API_KEY": "s3cret",
            "OPENAI_MODEL": "small",
        }
        with LibrarianProcess(data_dir, **environment) as server:
            answer = server.ask("t1", WITH, "m1")
            assert answer["message"] == "It wraps a block [1]."
            assert answer["data"]["model"] == "small"
            assert json.loads(server.get("/librarian/about")[1])["model"] == "small"
            assert b"s3cret" not in server.log.read_bytes()


def test_the_journal_is_followed_from_another_process_while_the_server_writes(data_dir):
    with LibrarianProcess(data_dir, pace=0.0) as server:
        server.ask("t1", WITH, "m1")
        command = [
            sys.executable,
            "-m",
            "understudy.cli",
            "journal",
            "tail",
            "--json",
            "--data-dir",
            str(data_dir),
        ]
        follower = subprocess.Popen(
            [
                *command,
                "-n",
                "1",
                "-t",
                "user_message",
                "-t",
                "message",
                "session:ada:librarian:t1",
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert follower.stdout is not None
        try:
            assert "is used to wrap" in follower.stdout.readline()
            server.ask("t1", "What does zip do?", "m2")
            assert "What does zip do?" in follower.stdout.readline()
            assert "n-length tuples" in follower.stdout.readline()
        finally:
            follower.kill()
            follower.wait(30)
            follower.stdout.close()
        assert server.stop() == 0


def test_the_crash_button_s_route_crashes_one_agent_only(data_dir):
    with LibrarianProcess(data_dir, pace=0.0) as server:
        server.ask("t1", WITH, "m1")
        server.ask("t2", "What does zip do?", "m1")
        status, body = server.request("POST", "/librarian/crash/ada/t1")
        assert (status, json.loads(body)["crashed"]) == (200, True)
        assert (
            "“What does zip do?”"
            in server.ask("t2", "What was my first question?", "m2")["message"]
        )
        assert f"“{WITH}”" in server.ask("t1", "What was my first question?", "m2")["message"]


def test_the_crash_button_s_route_is_not_for_other_sites_or_nobody(data_dir):
    with LibrarianProcess(data_dir, pace=0.0) as server:
        status, body = server.request("POST", "/librarian/crash/ada/nobody")
        assert (status, json.loads(body)["crashed"]) == (409, False)
        status, _ = server.request(
            "POST", "/librarian/crash/ada/t1", headers={"origin": "https://elsewhere.example"}
        )
        assert status == 403
        assert server.get("/librarian/crash/ada/t1")[0] == 405


@pytest.mark.stress
def test_the_demo_loses_and_repeats_nothing():
    finished = subprocess.run(
        [
            sys.executable,
            str(ROOT / "examples" / "librarian" / "demo.py"),
            "--sessions",
            "6",
            "--kills",
            "1",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "lost 0, repeated 0" in finished.stdout
