"""W3C trace context: whatever comes in goes on, and nonsense counts as nothing."""

from __future__ import annotations

import queue
import threading

import pytest

from understudy.actors import Actor
from understudy.observability import (
    extract_trace,
    inject_trace,
    new_trace,
    trace_ids,
    use_trace,
)
from understudy.supervision import ActorSystem

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_trace_that_came_in_goes_out_unchanged() -> None:
    context = extract_trace({"traceparent": PARENT, "tracestate": "vendor=a:b"})
    assert trace_ids(context) == (TRACE, SPAN)
    assert inject_trace({}, context) == {"traceparent": PARENT, "tracestate": "vendor=a:b"}


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        f"00-{TRACE}-" + "0" * 16 + "-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-extra",
        5,
        None,
    ],
)
def test_a_parent_that_breaks_the_rules_counts_as_none(parent) -> None:
    assert extract_trace({"traceparent": parent}) is None


def test_without_a_parent_there_is_no_trace() -> None:
    assert extract_trace({}) is None
    assert extract_trace(None) is None
    assert extract_trace({"tracestate": "vendor=1"}) is None
    assert trace_ids() is None
    assert inject_trace({}) == {}


def test_a_tracestate_that_is_no_text_is_left_out() -> None:
    assert trace_ids(extract_trace({"traceparent": PARENT, "tracestate": 5})) == (TRACE, SPAN)  # type: ignore[dict-item]


def test_a_block_runs_inside_the_trace_and_leaves_it() -> None:
    with use_trace({"traceparent": PARENT}):
        assert trace_ids() == (TRACE, SPAN)
        with use_trace(None):
            assert trace_ids() == (TRACE, SPAN)
        with use_trace({"traceparent": "nonsense"}):
            assert trace_ids() == (TRACE, SPAN)
    assert trace_ids() is None


def test_a_block_that_fails_leaves_the_trace_too() -> None:
    with pytest.raises(KeyError), use_trace({"traceparent": PARENT}):
        raise KeyError
    assert trace_ids() is None


def test_a_trace_does_not_cross_threads_by_itself_but_as_metadata() -> None:
    seen: list = []

    def other(metadata: dict[str, str]) -> None:
        seen.append(trace_ids())
        with use_trace(metadata):
            seen.append(trace_ids())

    with use_trace({"traceparent": PARENT}):
        thread = threading.Thread(target=other, args=(inject_trace({}),))
        thread.start()
        thread.join(10)
    assert seen == [None, (TRACE, SPAN)]


def test_new_traces_are_valid_and_differ() -> None:
    first, second = trace_ids(new_trace()), trace_ids(new_trace(sampled=False))
    assert first is not None
    assert second is not None
    assert first[0] != second[0]
    assert inject_trace({}, new_trace())["traceparent"].endswith("-01")
    assert inject_trace({}, new_trace(sampled=False))["traceparent"].endswith("-00")


def test_a_trace_set_in_one_actor_is_found_by_those_it_sends_to() -> None:
    seen: queue.Queue = queue.Queue()

    class Second(Actor):
        def on_receive(self, message):
            assert self.context.message is not None
            with use_trace(self.context.message.trace):
                seen.put(trace_ids())

    class First(Actor):
        def on_receive(self, message):
            with use_trace({"traceparent": PARENT}):
                self.context.set_trace(inject_trace({}))
            message.tell("go on")

    with ActorSystem("traced") as system:
        second = system.spawn(Second)
        system.spawn(First).tell(second)
        assert seen.get(timeout=20) == (TRACE, SPAN)
