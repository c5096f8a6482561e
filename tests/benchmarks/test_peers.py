"""Every body of the kernel suite, tiny, on the libraries that are here; the stores of the journal."""

from __future__ import annotations

import logging
import shutil

import pykka
import pytest

from understudy.benchmarks import LIBRARIES, REGISTRY, WrongAnswer, suites, worker
from understudy.benchmarks._bench import Bench
from understudy.benchmarks.peers import stores

suites.load()
OTHERS = ("pykka", "asyncio", "uvloop", "thespian", "xoscar")
SMALL = {"stop": 20, "blocked": 5, "short_blocks": 1, "ring": 200, "idle": 20, "create": 20}
CASES = [
    (item, peer) for item in REGISTRY.select(["kernel"]) for peer in item.bodies if peer in OTHERS
]


def bodies(cases):
    return pytest.mark.parametrize(
        ("item", "peer"), cases, ids=[f"{item.key}-{peer}" for item, peer in cases]
    )


@bodies(CASES)
@pytest.mark.filterwarnings("ignore")
def test_a_scenario_measures_each_library(item, peer):
    if (reason := LIBRARIES[peer].missing()) is not None:
        pytest.skip(reason)
    bench = Bench(peer, SMALL.get(item.key, 60))
    item.bodies[peer](bench)
    pykka.ActorRegistry.stop_all(timeout=10)
    assert bench.figures.get("items", 0) > 0 or bench.figures["samples"] > 0


@pytest.mark.skipif(shutil.which("escript") is None, reason="Erlang is not installed")
@bodies([(i, "otp") for i in REGISTRY.select(["kernel", "supervision"]) if "otp" in i.bodies])
def test_otp_measures_the_same(item, peer):
    bench = Bench(peer, 50)
    item.bodies[peer](bench)
    assert bench.figures["items"] == 50
    warm = Bench(peer, 50, warming=True)
    item.bodies[peer](warm)
    assert warm.figures == {}


def test_an_erlang_program_that_fails_is_an_error(monkeypatch, tmp_path):
    from understudy.benchmarks.peers import otp

    if shutil.which("escript") is None:
        pytest.skip("Erlang is not installed")
    with pytest.raises(RuntimeError, match="escript ended with"):
        otp.measure(Bench("otp", 1), "nosuch")


SERVICES = {"postgres": pytest.mark.postgres, "redis": pytest.mark.redis}


@pytest.mark.parametrize(
    "peer", [pytest.param(p, marks=SERVICES.get(p, ())) for p in stores.STORES]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_store_gives_back_as_many_events_as_it_took(peer, tmp_path):
    library = LIBRARIES[peer]
    if (reason := library.missing()) is not None:
        pytest.skip(reason)
    place = stores.store(peer, str(tmp_path))
    try:
        place.append(stores.events(3))
        place.append(stores.events(2, 3))
        place.flush()
        assert place.replay(decode=True) == 5
        assert place.replay(decode=False) == 5
        if peer != "redis":
            assert place.disk() > 0
    finally:
        place.close()


JOURNAL = [
    (item, peer)
    for item in REGISTRY.select(["journal"])
    for peer in item.bodies
    if peer in {"raw", "sqlite", "understudy", "pipelined", "synchronous"}
    and not item.points
    and item.key not in {"drop_segment", "churn"}
]


@bodies(JOURNAL)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_journal_scenario_measures(item, peer, tmp_path):
    bench = Bench(peer, 2 if item.key == "observed_append" else 200, directory=str(tmp_path))
    item.bodies[peer](bench)
    assert bench.figures


OURS_SMALL = {
    "stop": 20, "blocked": 5, "short_blocks": 2, "ring": 200, "observed_tell": 50,
    "observed_ask": 20, "restore_10mb": 1, "replay_10000": 1_000, "first_token_overhead": 1,
    "first_token": 2, "streams": 1_000, "group": 3, "escalation": 3, "crash": 5, "storm": 20,
}  # fmt: skip
OURS = [
    (item, peer)
    for item in REGISTRY.select(["kernel", "supervision", "sessions", "journal"])
    for peer in item.bodies
    if peer in {"understudy", "standalone"}
    # these take seconds by their nature: a freeze must last, idleness must be watched
    and item.key not in {"frozen", "detector", "detector_waiting"}
    and (item, peer) not in JOURNAL
    and item.key not in {"drop_segment", "churn"}
]


@pytest.fixture
def _logging():
    """The supervision suite turns logging off, in a process that it has for itself."""
    yield
    logging.disable(logging.NOTSET)


@bodies(OURS)
@pytest.mark.usefixtures("_logging")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scenario_measures_ours(item, peer, tmp_path):
    size = OURS_SMALL.get(item.key, 1_000 if item.suite == "journal" else 50)
    bench = Bench(peer, size, directory=str(tmp_path))
    item.bodies[peer](bench)
    pykka.ActorRegistry.stop_all(timeout=10)
    assert worker.value_of(item.metric, bench.figures) is not None


def test_making_room_is_measured_on_small_segments_and_dropping_nothing_is_wrong(
    tmp_path, monkeypatch
):
    from understudy.benchmarks.suites import journal

    monkeypatch.setattr(journal, "SEGMENT", 1_000)
    bench = Bench("understudy", 1, directory=str(tmp_path / "churn"))
    journal.churn(bench)
    assert bench.figures["value"] > 0
    with pytest.raises(WrongAnswer, match="no segment was dropped"):
        journal.drop_segment(Bench("understudy", 1, directory=str(tmp_path / "drop")))
