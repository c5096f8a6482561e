"""What `understudy serve` takes for an application, a factory, or neither."""

from __future__ import annotations

import sys

import pytest
from starlette.applications import Starlette

import understudy as us
from understudy.actors import Config
from understudy.agents import SessionHost
from understudy.cli._serve import assemble
from understudy.cli._target import BadTarget, factory_wants, load
from understudy.supervision import ActorSystem


class Callable_:
    async def __call__(self, scope, receive, send): ...


async def asgi(scope, receive, send): ...


def test_what_a_factory_asks_for_is_read_from_its_parameters() -> None:
    def by_name(system, config): ...

    def by_type(where: ActorSystem, settings: Config | None = None): ...

    def by_text(a: us.ActorSystem): ...

    def nothing(): ...

    def others(system, limit=5, *rest, **more): ...

    class Made:
        def __init__(self, config): ...

    assert factory_wants(by_name) == ("system=system", "config=config")
    assert factory_wants(by_type) == ("where=system", "settings=config")
    assert factory_wants(by_text) == ("a=system",)
    assert factory_wants(nothing) == ()
    assert factory_wants(others) == ("system=system",)
    assert factory_wants(Made) == ("config=config",)


def test_an_application_is_no_factory() -> None:
    assert factory_wants(asgi) is None
    assert factory_wants(Callable_()) is None
    assert factory_wants(lambda scope, receive, send: None) is None
    assert factory_wants(5) is None


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_modules_files_and_dotted_attributes_are_found(folder) -> None:
    (folder / "target_one.py").write_text("class box:\n    app = 1\napp = 2\n")
    assert load("target_one") == 2
    assert load("target_one:box.app") == 1
    (folder / "sub").mkdir()
    (folder / "sub" / "target_two.py").write_text("app = 3\n")
    assert load("sub/target_two.py") == 3


def test_what_the_module_has_is_offered_where_the_attribute_is_missing(folder) -> None:
    (folder / "target_three.py").write_text("import os\n_hidden = 1\ndef create(): ...\nx = 1\n")
    with pytest.raises(BadTarget, match=r"has no 'app'; it has create"):
        load("target_three")
    (folder / "target_four.py").write_text("import os\n")
    with pytest.raises(BadTarget, match=r"has no 'app'$"):
        load("target_four")


@pytest.mark.parametrize("found", [5, "text", None, object()])
def test_what_cannot_be_served_is_named_by_its_type(found) -> None:
    with pytest.raises(BadTarget, match=f"it is a {type(found).__name__}; an ASGI application"):
        assemble("x:app", found, Config())


def test_a_factory_that_forgets_to_return_is_told() -> None:
    with pytest.raises(BadTarget, match="the factory returned None"):
        assemble("x:app", lambda config: None, Config())


def test_a_function_of_something_else_is_neither_factory_nor_application() -> None:
    def makes(place): ...

    with pytest.raises(BadTarget, match="what its parameter 'place' shall be"):
        assemble("x:app", makes, Config())


def test_a_system_alone_is_not_served() -> None:
    with ActorSystem("alone") as system, pytest.raises(BadTarget, match="it is a ActorSystem"):
        assemble("x:app", system, Config())


def test_an_application_is_served_as_it_is_and_a_host_gets_a_gateway() -> None:
    assert assemble("x:app", asgi, Config()) is asgi
    assert assemble("x:app", lambda: asgi, Config()) is asgi
    with ActorSystem("hosting") as system:
        host = SessionHost(system, agents={})
        made = assemble("x:app", host, Config())
        assert isinstance(made, Starlette)
        assert made.state.gateway.host is host


def test_one_system_is_made_for_all_parameters_that_want_one(tmp_path) -> None:
    seen: list = []

    def factory(system, other: ActorSystem, config):
        seen.extend([system, other, config])
        return asgi

    config = Config(data_dir=str(tmp_path / "data"))
    assert assemble("pkg/office.py:app", factory, config) is asgi
    system, other, given = seen
    assert system is other
    assert (system.name, given) == ("office", config)
    assert (tmp_path / "data" / "control.sock").exists()
    system.stop()
    assert not (tmp_path / "data" / "control.sock").exists()
