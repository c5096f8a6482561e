"""Proxies: attributes, methods, nested objects, and what they refuse."""

from __future__ import annotations

import logging

import pytest

import understudy.actors as us

WAIT = 5.0


class Playback:
    volume = 1

    def play(self):
        return "playing"


class Player(us.Actor):
    playback = us.traversable(Playback())

    def __init__(self):
        super().__init__()
        self.title = "none"
        self._secret = 1

    def rename(self, title):
        self.title = title
        return title

    def fail(self):
        raise ValueError("no")


@pytest.fixture
def proxy(room):
    return room.spawn(Player).proxy()


def test_attributes_are_read_and_set(proxy):
    assert proxy.title.get() == "none"
    proxy.title = "Blue"
    assert proxy.title.get(timeout=WAIT) == "Blue"


def test_nested_attributes_and_methods_are_reached(proxy):
    assert proxy.playback.play().get() == "playing"
    assert proxy.playback.volume.get() == 1
    proxy.playback.volume = 7
    assert proxy.playback.volume.get() == 7
    proxy.playback.volume = 1
    assert proxy.playback is proxy.playback


def test_defer_asks_for_no_answer(proxy):
    assert proxy.rename.defer("Kind") is None
    assert proxy.title.get(timeout=WAIT) == "Kind"


def test_private_and_missing_names_are_refused(proxy):
    for name in ("_secret", "missing", "__wrapped__"):
        with pytest.raises(AttributeError, match="has no attribute"):
            getattr(proxy, name)


def test_attributes_that_come_later_are_found(proxy):
    with pytest.raises(AttributeError):
        proxy.added
    proxy.added = 5
    assert proxy.added.get(timeout=WAIT) == 5


def test_proxies_of_one_ref_are_equal(proxy):
    other = proxy.actor_ref.proxy()
    assert proxy == other
    assert hash(proxy) == hash(other)
    assert proxy != proxy.playback
    assert proxy != 3


def test_a_proxy_of_the_dead_is_refused(proxy):
    assert proxy.actor_ref.stop(timeout=WAIT)
    with pytest.raises(us.ActorDeadError, match="not found"):
        proxy.actor_ref.proxy()
    with pytest.raises(us.ActorDeadError):
        proxy.rename("x").get(timeout=WAIT)
    with pytest.raises(us.ActorDeadError):
        proxy.rename.defer("x")


def test_a_proxy_made_between_two_incarnations_knows_the_class(room):
    room.guardian.on["failed"] = lambda ref, *facts: None
    ref = room.make(Player)
    proxy = ref.proxy()
    answer = proxy.rename("early")
    ref._us_begin()
    assert answer.get(timeout=WAIT) == "early"


def test_an_exception_comes_back_and_is_logged(proxy, caplog):
    caplog.set_level(logging.INFO, logger="pykka")
    with pytest.raises(ValueError, match="no"):
        proxy.fail().get(timeout=WAIT)
    assert "Exception returned from" in caplog.text


def test_a_method_handing_out_its_own_later_work_hands_out_a_future(room):
    class Later(us.Actor):
        def begin(self):
            return self.actor_ref.proxy().end()

        def end(self):
            return "end"

    inner = room.spawn(Later).proxy().begin().get(timeout=WAIT)
    assert isinstance(inner, us.Future)
    assert inner.get(timeout=WAIT) == "end"


def test_an_attribute_that_is_a_future_is_handed_out_as_it_is(room):
    class Holds(us.Actor):
        def __init__(self):
            super().__init__()
            self.future = us.Future()

    ref = room.spawn(Holds)
    assert ref.proxy().future.get(timeout=WAIT) is ref._us_actor.future


def test_props_show_what_they_make():
    assert repr(us.Props(Player)) == "Props(Player)"
    assert repr(us.Props(Player, 1, name="x")) == "Props(Player, 1, name='x')"


def test_an_unknown_message_is_logged_and_answered_with_nothing(proxy, caplog):
    assert proxy.actor_ref.ask("what?", timeout=WAIT) is None
    assert "Unexpected message" in caplog.text
