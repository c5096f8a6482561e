"""The thirty benchmarks, tiny, checked, on every library of the port."""

from __future__ import annotations

import threading

import pykka
import pytest

from understudy.benchmarks import WrongAnswer
from understudy.benchmarks.savina import ALL, STAGES, Role, TooSlow, play

BUDGET = 150


def small(key):
    return ALL[key].scaled(BUDGET)


@pytest.fixture
def stage(request):
    if request.param == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed: pip install uvloop")
    found = STAGES[request.param]()
    yield found
    found.close()
    assert not pykka.ActorRegistry.get_all()


def test_there_are_thirty_in_the_papers_order():
    assert len(ALL) == 30
    assert list(ALL)[:3] == ["pingpong", "count", "fjthrput"]
    assert [
        sum(b.category == c for b in ALL.values()) for c in ("micro", "concurrency", "parallelism")
    ] == [7, 8, 15]


@pytest.mark.parametrize("key", ALL)
def test_the_docstring_cites_the_paper_and_its_parameters(key):
    text = " ".join(str(ALL[key].__doc__).split())
    assert "Paper: " in text
    assert "Imam and Sarkar" in text


@pytest.mark.parametrize("key", ALL)
def test_sizes_never_exceed_the_papers_and_grow_with_the_budget(key):
    paper, small_one, large = ALL[key](), ALL[key].scaled(200), ALL[key].scaled(20_000)
    for name, value in large.sizes().items():
        assert value <= getattr(paper, name), name
    assert small_one.messages <= large.messages <= paper.messages


@pytest.mark.parametrize("stage", ["asyncio", "pykka", "understudy"], indirect=True)
@pytest.mark.parametrize("key", ALL)
def test_it_finishes_with_the_right_answer(key, stage):
    assert play(small(key), stage, timeout=30) > 0


@pytest.mark.parametrize("stage", ["uvloop", "standalone"], indirect=True)
@pytest.mark.parametrize("key", ["pingpong", "banking", "fib"])
def test_the_other_stages_run_it_too(key, stage):
    assert play(small(key), stage, timeout=30) > 0


@pytest.mark.parametrize("key", ALL)
def test_a_wrong_answer_is_found(key):
    wrong = {
        "apsp": {(r, c): [[0] * 50] * 50 for r in range(4) for c in range(4)},
        "astar": [0, 1],
        "bndbuffer": (1, 1, 1),
        "filterbank": [1.0],
        "uct": (-1, -1),
        "facloc": (-1, -1),
    }.get(
        key,
        (-1, -1, False) if key in {"concdict", "concsll", "philosopher", "barber"} else -1,
    )
    with pytest.raises(WrongAnswer, match=f"^{key}: .* is .*, should be "):
        small(key).check(wrong)


class Failing(Role):
    def receive(self, message):
        raise LookupError(message)


class FailingAsker(Role):
    def receive(self, message):
        raise LookupError(message)
        yield self.me, message


@pytest.mark.parametrize("stage", ["asyncio", "pykka", "understudy"], indirect=True)
@pytest.mark.parametrize("role", [Failing, FailingAsker])
def test_an_actors_error_ends_the_benchmark_at_once(stage, role):
    with pytest.raises(LookupError, match="lost"):
        stage.play(lambda s: s.spawn(role).tell("lost"), 30)


class Silent(Role):
    def receive(self, message):
        pass


@pytest.mark.parametrize("stage", ["asyncio", "pykka"], indirect=True)
def test_a_benchmark_without_an_end_is_cut_off(stage):
    with pytest.raises(TooSlow, match=r"no result within 0\.05 s"):
        stage.play(lambda s: s.spawn(Silent).tell("hello"), 0.05)


class Twice(Role):
    def receive(self, message):
        self.done(message)


@pytest.mark.parametrize("stage", ["asyncio", "pykka"], indirect=True)
def test_the_first_result_counts_and_the_clock_stops_with_it(stage):
    ended = threading.Event()
    stage.at_end = ended.set

    def begin(s):
        ref = s.spawn(Twice)
        ref.tell(1)
        ref.tell(2)

    assert stage.play(begin, 30) == 1
    assert ended.is_set()


def test_the_port_itself_handles_nothing():
    with pytest.raises(NotImplementedError):
        Role().receive("hello")


@pytest.mark.parametrize("stage", ["asyncio", "understudy"], indirect=True)
def test_the_barber_counts_how_often_customers_came(stage):
    barber = small("barber")
    result = stage.play(barber.begin, 30)
    barber.check(result)
    assert barber.counted(result) == {"attempts": result[1]}
    assert result[1] >= barber.haircuts
