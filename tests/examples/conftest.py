"""Shared by the tests of the examples: the index of Python's own documentation, built once."""

from __future__ import annotations

import pytest

from examples.librarian.corpus import PythonCorpus
from examples.librarian.index import open_index
from examples.librarian.library import Library


@pytest.fixture(scope="session")
def python_index(tmp_path_factory):
    return open_index(PythonCorpus(), tmp_path_factory.mktemp("python-index"))


@pytest.fixture(scope="session")
def library(python_index):
    return Library(python_index)
