"""A page of an application's own beside the gateway."""

from __future__ import annotations

import pytest

import understudy.gateway
from understudy.gateway.console import POLICY, pages


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "index.html").write_text("<h1>office</h1>")
    (tmp_path / "page.js").write_text("'use strict';")
    return tmp_path


def test_the_index_is_the_page_and_the_files_are_beside_it(serve, host, folder) -> None:
    door = serve(understudy.gateway.app(host, routes=pages(folder)))
    page = door.http.get("/")
    assert page.text == "<h1>office</h1>"
    assert page.headers["content-type"].startswith("text/html")
    assert door.http.get("/static/page.js").text == "'use strict';"
    assert door.http.get("/static/none.js").status_code == 404
    assert door.http.get("/static/../conftest.py").status_code == 404
    assert door.http.get("/health").status_code == 200


def test_a_page_loads_nothing_foreign_and_is_asked_for_anew(serve, host, folder) -> None:
    door = serve(understudy.gateway.app(host, routes=pages(folder, at="/files")))
    page = door.http.get("/")
    assert page.headers["content-security-policy"] == POLICY
    assert page.headers["cache-control"] == "no-cache"
    assert page.headers["x-content-type-options"] == "nosniff"
    same = door.http.get("/files/page.js", headers={"if-none-match": "x"})
    again = door.http.get("/files/page.js", headers={"if-none-match": same.headers["etag"]})
    assert (same.status_code, again.status_code) == (200, 304)


def test_a_folder_without_a_page_is_refused_at_once(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no index.html"):
        pages(tmp_path)
