"""What operators ask."""

from __future__ import annotations

import json

from understudy.supervision import HealthStatus


def metrics(door) -> dict[str, float]:
    found = {}
    for line in door.http.get("/metrics").text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def test_a_healthy_system_is_200_on_every_probe(door) -> None:
    for path in ("/health", "/health/live", "/health/ready"):
        response = door.http.get(path)
        body = response.json()
        assert response.status_code == 200
        assert (body["live"], body["ready"], body["status"]) == (True, True, "up")
    assert door.http.get("/health").json()["checks"]


def test_a_system_that_is_not_ready_is_503_but_still_alive(door, system) -> None:
    system.health.register("queue", lambda: (HealthStatus.DOWN, "no room"), ttl=0.0)
    response = door.http.get("/health")
    assert response.status_code == 503
    assert response.json()["checks"]["queue"]["detail"] == "no room"
    assert door.http.get("/health/ready").status_code == 503
    live = door.http.get("/health/live")
    assert live.status_code == 200
    assert "queue" not in live.json()["checks"]


def test_a_system_that_a_restart_would_help_is_503_on_liveness(door, system) -> None:
    system.health.register("heart", lambda: False, live=True, ttl=0.0)
    assert door.http.get("/health/live").status_code == 503
    assert door.http.get("/health").json()["live"] is False


def test_a_check_that_only_degrades_keeps_the_system_in_service(door, system) -> None:
    system.health.register("cache", lambda: False, critical=False, ttl=0.0)
    response = door.http.get("/health")
    assert (response.status_code, response.json()["status"]) == (200, "degraded")


def test_the_metrics_are_prometheus_text_and_count_what_happens(door) -> None:
    response = door.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    before = metrics(door)
    with door.connect() as client:
        client.say("one two", "m1")
        client.turn()
        client.raw("nonsense")
        client.receive()
        during = metrics(door)
    assert during["understudy_messages_total"] > before["understudy_messages_total"]
    assert during["understudy_appends_total"] > before["understudy_appends_total"]
    assert during["understudy_append_latency_seconds_count"] > 0
    assert during["understudy_gateway_connections"] == 1
    assert during['understudy_gateway_frames_total{direction="out"}'] == 3
    assert during['understudy_gateway_errors_total{code="malformed"}'] == 1
    assert during["understudy_sessions_active"] == 1


def test_open_metrics_are_given_to_who_asks_for_them(door) -> None:
    response = door.http.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


def test_the_tree_shows_the_session_and_its_agent(door) -> None:
    door.http.post("/v1/sessions/ada/echo/t1/messages", json={"text": "x"})
    body = door.http.get("/v1/tree").json()
    assert body["system"] == "gateway"
    sessions = next(node for node in body["tree"]["children"] if node["name"] == "sessions")
    assert sessions["children"][0]["path"].startswith("/sessions/ada:echo:t1")


def test_the_tree_can_be_kept_short(door) -> None:
    for thread in ("t1", "t2", "t3"):
        door.http.post(f"/v1/sessions/ada/echo/{thread}/messages", json={"text": "x"})
    body = door.http.get("/v1/tree?children=1").json()
    sessions = next(node for node in body["tree"]["children"] if node["name"] == "sessions")
    assert (len(sessions["children"]), sessions["more"]) == (1, 2)
    assert door.http.get("/v1/tree?children=x").status_code == 400


def test_the_tree_is_streamed_again_when_an_actor_starts(door) -> None:
    with door.http.stream("GET", "/v1/tree", headers={"accept": "text/event-stream"}) as response:
        pictures = (
            json.loads(line.removeprefix("data: "))
            for line in response.iter_lines()
            if line.startswith("data: ")
        )
        assert "ada:echo:t9" not in json.dumps(next(pictures))
        door.host.send("ada:echo:t9", "x").result(timeout=20)
        while "ada:echo:t9" not in json.dumps(next(pictures)):
            pass


def test_the_tree_stream_ends_with_the_server(door) -> None:
    with door.http.stream("GET", "/v1/tree/stream") as response:
        lines = response.iter_lines()
        assert next(lines) == "event: tree"
        door.server.stop()
        for _ in lines:
            pass
    assert door.server.stopped.wait(20)
