"""A real Chromium and a real server for the tests of pages."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from examples.librarian.corpus import PythonCorpus
from examples.librarian.index import open_index
from tests.examples.librarian_process import LibrarianProcess

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# Not of the session: as long as it lives, its event loop runs on the main thread.
@pytest.fixture(scope="module")
def browser():
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no {CHROMIUM}; apt-get install chromium brings it")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed; pip install 'understudy[test]' brings it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page of a fresh profile; what goes wrong in its scripts fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(20_000)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def indexed(tmp_path_factory):
    """The index of Python's documentation, built once for all servers."""
    folder = tmp_path_factory.mktemp("indexed")
    open_index(PythonCorpus(), folder)
    return folder


@pytest.fixture(scope="session")
def house(tmp_path_factory, indexed):
    """A server that stays up; every page is a user of its own in it."""
    data_dir = tmp_path_factory.mktemp("house") / "data"
    shutil.copytree(indexed, data_dir / "librarian")
    with LibrarianProcess(data_dir, pace=0.02) as process:
        yield process


@pytest.fixture
def server(tmp_path, indexed):
    """A server of one's own, to be killed."""
    data_dir = tmp_path / "data"
    shutil.copytree(indexed, data_dir / "librarian")
    with LibrarianProcess(data_dir, pace=0.02) as process:
        yield process
