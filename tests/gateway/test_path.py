"""Sessions in paths."""

from __future__ import annotations

import pytest

from understudy.gateway import GatewayError
from understudy.gateway._path import session_path


def scope(raw: str, root: str = "") -> dict:
    from urllib.parse import unquote

    return {"path": unquote(raw), "raw_path": raw.encode(), "root_path": root}


def test_three_parts_and_an_action_are_a_session() -> None:
    found = session_path(scope("/v1/sessions/ada/echo/t1/ws"))
    assert found == (("ada", "echo", "t1"), "ws")


def test_one_part_is_a_user() -> None:
    assert session_path(scope("/v1/sessions/ada")) == (("ada",), "")


def test_an_escaped_slash_belongs_to_its_part() -> None:
    found = session_path(scope("/v1/sessions/a%2Fb/ech%C3%B6/t%3A1%25/events"))
    assert found.parts == ("a/b", "echö", "t:1%")


def test_under_a_mount_the_mount_is_not_part_of_the_session() -> None:
    found = session_path(scope("/api/chat/v1/sessions/ada/echo/t1/ws", "/api/chat"))
    assert found.parts == ("ada", "echo", "t1")


def test_a_server_that_gives_no_raw_path_is_served_too() -> None:
    found = session_path({"path": "/v1/sessions/ada l/echo/t1/ws"})
    assert found.parts == ("ada l", "echo", "t1")


def test_a_part_that_is_no_utf8_is_a_bad_key() -> None:
    with pytest.raises(GatewayError) as caught:
        session_path(scope("/v1/sessions/a%FF/echo/t1/ws"))
    assert caught.value.code == "bad_session_key"
    assert caught.value.close == 4400


@pytest.mark.parametrize(
    "raw", ["/v1/sessions/a/b", "/v1/sessions/a/b/c", "/v1/sessions/a/b/c/d/ws"]
)
def test_another_shape_is_told_the_right_one(raw: str) -> None:
    with pytest.raises(GatewayError) as caught:
        session_path(scope(raw))
    assert caught.value.status == 404
    assert "/v1/sessions/{user}/{agent}/{thread}" in caught.value.message
