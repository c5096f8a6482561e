"""Trees from TOML: built as written, or refused with the place, the value and what would do."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from understudy.actors import Actor, Directive, Heartbeat, Restart
from understudy.supervision import (
    AutoShutdown,
    Backoff,
    InvalidTree,
    OneForAll,
    RestForOne,
    Shutdown,
    Supervisor,
    load_tree,
)

HERE = __name__


class Stock(Actor):
    def __init__(self, amount: int, unit: str = "piece") -> None:
        super().__init__()
        self.amount = (amount, unit)


class Inner:
    class Till(Actor):
        pass


class Broken(Exception):
    pass


def write(folder: pathlib.Path, text: str, name: str = "tree.toml") -> pathlib.Path:
    path = folder / name
    path.write_text(text)
    return path


def specs(tree: type[Supervisor]) -> list[Any]:
    return list(tree.children(None))  # type: ignore[arg-type] # the specs need no instance


def refused(path: pathlib.Path) -> InvalidTree:
    with pytest.raises(InvalidTree) as caught:
        load_tree(path)
    return caught.value


def test_a_whole_tree_is_built_as_written(tmp_path: pathlib.Path) -> None:
    tree = load_tree(
        write(
            tmp_path,
            f"""
            [supervisor]
            name = "Shop"
            strategy = "rest_for_one"
            intensity = 5
            period = 10.0
            auto_shutdown = "any_significant"
            backoff = {{ first = 0.5, maximum = 5.0 }}
            decider = {{ ValueError = "resume", "{HERE}:Broken" = "stop" }}

            [[supervisor.children]]
            id = "stock"
            class = "{HERE}:Stock"
            args = [100]
            kwargs = {{ unit = "box" }}
            restart = "transient"
            shutdown = "brutal"
            significant = true
            heartbeat = {{ timeout = 2.0 }}
            mailbox = {{ capacity = 10 }}

            [[supervisor.children]]
            id = "tills"

            [supervisor.children.supervisor]
            strategy = "one_for_all"
            intensity = "unlimited"
            budget = "child"

            [[supervisor.children.supervisor.children]]
            id = "till"
            class = "{HERE}:Inner.Till"
            """,
        )
    )
    assert tree.__name__ == "Shop"
    assert tree.strategy == RestForOne(5, 10.0, backoff=Backoff(first=0.5, maximum=5.0))
    assert tree.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT
    assert tree.decider == {ValueError: Directive.RESUME, Broken: Directive.STOP}
    stock, tills = specs(tree)
    assert (stock.cls, stock.args, stock.kwargs) == (Stock, (100,), {"unit": "box"})
    assert (stock.restart, stock.shutdown) == (Restart.TRANSIENT, Shutdown.BRUTAL)
    assert stock.heartbeat == Heartbeat(timeout=2.0)
    assert issubclass(tills.cls, Supervisor)
    assert tills.cls.strategy == OneForAll(None, budget="child")
    assert [spec.cls for spec in specs(tills.cls)] == [Inner.Till]


def test_a_tree_may_include_another_file(tmp_path: pathlib.Path) -> None:
    write(
        tmp_path,
        f'[supervisor]\n[[supervisor.children]]\nid="t"\nclass="{HERE}:Inner.Till"',
        "b.toml",
    )
    path = write(
        tmp_path,
        '[supervisor]\n[[supervisor.children]]\nid="b"\nsupervisor={include="b.toml"}',
    )
    [below] = specs(load_tree(path))
    assert [spec.id for spec in specs(below.cls)] == ["t"]


def test_files_that_include_each_other_are_refused(tmp_path: pathlib.Path) -> None:
    text = '[supervisor]\n[[supervisor.children]]\nid="x"\nsupervisor={{include="{}"}}'
    a = write(tmp_path, text.format("b.toml"), "a.toml")
    write(tmp_path, text.format("a.toml"), "b.toml")
    error = refused(a)
    assert "circle" in str(error)
    assert "a.toml -> " in str(error)


CHILD = f'[supervisor]\n[[supervisor.children]]\nid="a"\nclass="{HERE}:Stock"\nargs=[1]\n'


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("[supervisors]", "supervisors", {}),
        ("[supervisor]\ncolour='red'", "supervisor.colour", "red"),
        ("[supervisor]\nstrategy='all'", "supervisor.strategy", "all"),
        ("[supervisor]\nstrategy=['one_for_all']", "supervisor.strategy", ["one_for_all"]),
        ("[supervisor]\nintensity=-1", "supervisor.intensity", -1),
        ("[supervisor]\nperiod=0", "supervisor.period", 0),
        ("[supervisor]\nbackoff=3", "supervisor.backoff", 3),
        ("[supervisor]\nbackoff={frist=1}", "supervisor.backoff.frist", 1),
        ("[supervisor]\nbackoff={first=-1}", "supervisor.backoff.first", -1),
        ("[supervisor]\nauto_shutdown='soon'", "supervisor.auto_shutdown", "soon"),
        ("[supervisor]\nname='my shop'", "supervisor.name", "my shop"),
        ("[supervisor]\nchildren=3", "supervisor.children", 3),
        ("[supervisor]\nchildren=[3]", "supervisor.children[0]", 3),
        ("[supervisor]\ndecider=3", "supervisor.decider", 3),
        ("[supervisor]\ndecider={ValueError='panic'}", "supervisor.decider.ValueError", "panic"),
        ("[supervisor]\ndecider={int='stop'}", "supervisor.decider.int", "builtins:int"),
        ("[supervisor]\ninclude='missing.toml'", "supervisor.include", "missing.toml"),
        ("[supervisor]\ninclude=3", "supervisor.include", 3),
        ("[supervisor]\ninclude='b.toml'\nperiod=3", "supervisor.period", 3),
        (CHILD + "speed=1", "supervisor.children[0].speed", 1),
        (CHILD + "restart='often'", "supervisor.children[0].restart", "often"),
        (CHILD + "shutdown=-1", "supervisor.children[0].shutdown", -1.0),
        (CHILD + "mailbox={capacity=0}", "supervisor.children[0].mailbox", {"capacity": 0}),
        (CHILD + "heartbeat={timeout=0}", "supervisor.children[0].heartbeat", {"timeout": 0}),
        (CHILD + "heartbeat={tiemout=3}", "supervisor.children[0].heartbeat.tiemout", 3),
        (CHILD + "heartbeat=true", "supervisor.children[0].heartbeat", True),
        (CHILD.replace("[1]", "[]"), "supervisor.children[0].args", []),
        (CHILD + "kwargs={colour=2}", "supervisor.children[0].kwargs", {"colour": 2}),
        (CHILD + CHILD.partition("\n")[2], "supervisor.children.id", "a"),
        ("[supervisor]\n[[supervisor.children]]\nid='a'", "supervisor.children[0].class", None),
        (
            "[supervisor]\n[[supervisor.children]]\nid='a'\nclass='nowhere.to.be:Found'",
            "supervisor.children[0].class",
            "nowhere.to.be:Found",
        ),
        (
            f"[supervisor]\n[[supervisor.children]]\nid='a'\nclass='{HERE}:Missing'",
            "supervisor.children[0].class",
            f"{HERE}:Missing",
        ),
        (
            "[supervisor]\n[[supervisor.children]]\nid='a'\nclass='builtins:int'",
            "supervisor.children[0].class",
            "builtins:int",
        ),
        (
            "[supervisor]\n[[supervisor.children]]\nid='a'\nclass='no_colon'",
            "supervisor.children[0].class",
            "no_colon",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_place_and_value(
    tmp_path: pathlib.Path, text: str, field: str, value: Any
) -> None:
    error = refused(write(tmp_path, text))
    assert field in [problem.field for problem in error.problems]
    if value is not None:
        [problem] = [p for p in error.problems if p.field == field]
        assert problem.value == value
        assert problem.expected


def test_everything_wrong_in_a_file_is_told_at_once(tmp_path: pathlib.Path) -> None:
    error = refused(
        write(tmp_path, CHILD + "restart='often'\nspeed=1\n[supervisor.backoff]\nfirst=-1")
    )
    fields = {problem.field for problem in error.problems}
    assert {
        "supervisor.children[0].speed",
        "supervisor.children[0].restart",
        "supervisor.backoff.first",
    } <= fields


def test_accepted_values_are_told_as_they_stand_in_a_file(tmp_path: pathlib.Path) -> None:
    error = refused(write(tmp_path, CHILD + "restart='often'"))
    assert error.expected == '"permanent", "transient", "temporary"'


def test_limits_are_checked_beside_a_strategy_that_is_unknown(tmp_path: pathlib.Path) -> None:
    error = refused(write(tmp_path, "[supervisor]\nstrategy='some'\nintensity=-1"))
    fields = [problem.field for problem in error.problems]
    assert fields == ["supervisor.strategy", "supervisor.intensity"]


def test_a_file_that_is_no_toml_is_refused(tmp_path: pathlib.Path) -> None:
    error = refused(write(tmp_path, "[supervisor"))
    assert "valid TOML" in str(error)
    (tmp_path / "latin.toml").write_bytes(b"[supervisor]\nname='caf\xe9'")
    assert "valid TOML in UTF-8" in str(refused(tmp_path / "latin.toml"))


def test_an_error_names_the_file_it_is_in(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "[supervisor]\nperiod=0", "inner.toml")
    error = refused(
        write(
            tmp_path,
            '[supervisor]\n[[supervisor.children]]\nid="x"\nsupervisor={include="inner.toml"}',
        )
    )
    assert error.file == tmp_path / "inner.toml"
    assert str(error).startswith("tree inner.toml: supervisor.period = 0")


@pytest.fixture
def shop(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A package of modules that cannot all be imported, where Python looks."""
    package = tmp_path / "toml_shop"
    package.mkdir()
    for name, text in {
        "__init__": "",
        "stock": "import understudy as us\nclass Stock(us.Actor):\n    pass\n",
        "one": "from toml_shop.two import Two\nclass One:\n    pass\n",
        "two": "from toml_shop.one import One\nclass Two:\n    pass\n",
        "broken": "\n1 / 0\n",
        "needy": "import no_such_package\n",
    }.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("toml_shop.stok:Stock", ["no module 'toml_shop.stok'", "did you mean 'stock'?"]),
        ("toml_shop.stock:Stok", ["has no 'Stok'", "did you mean 'Stock'?"]),
        ("toml_shop.stock.Stock", ['"module:Class"', 'perhaps "toml_shop.stock:Stock"']),
        ("toml_shops:Stock", ["no module 'toml_shops'", "PYTHONPATH"]),
        ("toml_shop.one:One", ["in a circle", "circular import", "move what both need"]),
        ("toml_shop.broken:X", ["ZeroDivisionError: division by zero", "broken.py, line 2"]),
        ("toml_shop.needy:X", ["No module named 'no_such_package'", "needy.py, line 1"]),
        ("..toml_shop:X", ['"module:Class"']),
        (":Stock", ['"module:Class"']),
    ],
)
def test_a_class_that_cannot_be_had_is_explained(
    shop: pathlib.Path, path: str, words: list[str]
) -> None:
    text = f'[supervisor]\n[[supervisor.children]]\nid="a"\nclass="{path}"'
    error = refused(write(shop, text))
    assert (error.field, error.value) == ("supervisor.children[0].class", path)
    for word in words:
        assert word in str(error)


def test_an_empty_file_has_no_supervisor(tmp_path: pathlib.Path) -> None:
    assert refused(write(tmp_path, "")).field == "supervisor"
