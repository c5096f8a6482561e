"""One form for every log record, whoever made it."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

import understudy as us
from understudy.observability import configure_logging, logger, use_trace

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def stream():
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield io.StringIO()
    root.setLevel(level)
    for handler in list(root.handlers):
        if handler not in handlers:
            root.removeHandler(handler)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_records_of_structlog_and_of_the_standard_library_look_alike(stream) -> None:
    configure_logging("info", stream=stream)
    logger("understudy.test", session="ada:echo:t1").info("turn_closed", frames=3)
    logging.getLogger("elsewhere").warning("disk %s", "full", extra={"free": 0})
    ours, theirs = lines(stream)
    assert ours.pop("timestamp").endswith("Z")
    assert theirs.pop("timestamp").endswith("Z")
    assert ours == {
        "event": "turn_closed",
        "level": "info",
        "logger": "understudy.test",
        "session": "ada:echo:t1",
        "frames": 3,
    }
    assert theirs == {
        "event": "disk full",
        "level": "warning",
        "logger": "elsewhere",
        "free": 0,
    }


def test_records_made_inside_a_trace_carry_its_ids(stream) -> None:
    configure_logging("info", stream=stream)
    with use_trace({"traceparent": PARENT}):
        logger().info("inside")
        logging.getLogger("elsewhere").info("inside too")
    logger().info("outside")
    inside, theirs, outside = lines(stream)
    assert inside["trace_id"] == theirs["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert inside["span_id"] == "b7ad6b7169203331"
    assert "trace_id" not in outside


def test_an_exception_is_text_in_the_same_line(stream) -> None:
    configure_logging("info", stream=stream)
    try:
        raise KeyError("lost")
    except KeyError:
        logging.getLogger("elsewhere").exception("it failed")
    (line,) = lines(stream)
    assert line["exception"].startswith("Traceback")
    assert "KeyError: 'lost'" in line["exception"]


def test_variables_bound_to_the_context_are_in_every_record(stream) -> None:
    configure_logging("info", stream=stream)
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        logging.getLogger("elsewhere").info("hello")
    assert lines(stream)[0]["request_id"] == "r1"


def test_less_than_the_level_is_not_shown(stream) -> None:
    configure_logging("warning", stream=stream)
    logger().info("quiet")
    logging.getLogger("elsewhere").info("quiet")
    logger().warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_configuring_twice_prints_once(stream) -> None:
    configure_logging("info", stream=stream)
    configure_logging(logging.INFO, stream=stream)
    logger().info("once")
    assert len(lines(stream)) == 1


def test_a_person_at_a_terminal_gets_text(stream) -> None:
    stream.isatty = lambda: True
    configure_logging("info", stream=stream)
    logger().info("hello")
    assert "hello" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_json_can_be_asked_for_on_a_terminal(stream) -> None:
    stream.isatty = lambda: True
    configure_logging("info", json=True, stream=stream)
    logger().info("hello")
    assert lines(stream)[0]["event"] == "hello"


def test_what_is_no_json_is_shown_by_its_repr(stream) -> None:
    configure_logging("info", stream=stream)
    logger().info("odd", value={1, 2})
    assert lines(stream)[0]["value"] == "{1, 2}"


def test_a_supervisors_report_is_data(stream) -> None:
    configure_logging("info", stream=stream)

    class Fragile(us.Actor):
        def on_receive(self, message):
            raise ValueError(message)

    with us.ActorSystem("logged") as system:
        failed = system.spawn(Fragile, name="fragile", restart="temporary")
        stopped = us.Future()
        system.events.subscribe(stopped.set, us.ActorStopped)
        failed.tell("no")
        stopped.get(timeout=10)
    [report] = [line["report"] for line in lines(stream) if line["level"] == "warning"]
    assert report["supervisor"] == "/user"
    assert report["offender"]["path"] == "/user/fragile"
    assert (report["context"], report["action"]) == ("child_terminated", "stop")
    assert report["reason"] == "Failed(ValueError('no'))"


def test_an_unknown_level_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="log level 'loud' is unknown; take one of"):
        configure_logging("loud")
