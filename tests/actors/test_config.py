"""Configuration: where values come from, what is refused, and that it is frozen."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import understudy.actors as us


def test_the_later_source_wins_and_the_origin_is_kept(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('ask_timeout = 1.0\n[gateway]\nhost = "0.0.0.0"\nport = 1\n')
    environ = {"UNDERSTUDY_GATEWAY_PORT": "2", "UNDERSTUDY_SHUTDOWN_TIMEOUT": "7"}
    config = us.Config.load(file, environ=environ, gateway={"port": 3})
    assert (config.gateway.host, config.gateway.port) == ("0.0.0.0", 3)
    assert (config.ask_timeout, config.shutdown_timeout) == (1.0, 7.0)
    assert config.origin("gateway.host") == f"file {file}"
    assert config.origin("gateway.port") == "keyword argument"
    assert config.origin("shutdown_timeout") == "environment UNDERSTUDY_SHUTDOWN_TIMEOUT"
    assert config.origin("detector.sweep") == "default"


def test_the_file_named_by_the_environment_is_read(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("[detector]\nenabled = false\n")
    assert not us.Config.load(environ={"UNDERSTUDY_CONFIG": str(file)}).detector.enabled


def test_a_named_file_must_be_there_and_be_toml(tmp_path):
    with pytest.raises(FileNotFoundError):
        us.Config.load(tmp_path / "missing.toml", environ={})
    broken = tmp_path / "broken.toml"
    broken.write_text("= nonsense")
    with pytest.raises(us.ConfigError) as caught:
        us.Config.load(broken, environ={})
    assert str(caught.value).startswith(f"{broken} is no TOML file: ")


def test_understudy_toml_of_the_working_directory_is_read_if_it_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert us.Config.load(environ={}).gateway.port == 3030
    (tmp_path / "understudy.toml").write_text("[gateway]\nport = 5\n")
    assert us.Config.load(environ={}).gateway.port == 5


@pytest.mark.parametrize(
    ("settings", "key", "accepted"),
    [
        ({"gatewy": {}}, "gatewy", "gateway"),
        ({"gateway": {"prot": 1}}, "gateway.prot", "port"),
        ({"gateway": {"port": "x"}}, "gateway.port", "whole number"),
        ({"gateway": {"port": True}}, "gateway.port", "whole number"),
        ({"gateway": 3}, "gateway", "table"),
        ({"detector": {"timeout": 0}}, "detector.timeout", "above 0"),
        ({"detector": {"timeout": float("inf")}}, "detector.timeout", "above 0"),
        ({"journal": {"durability": "maybe"}}, "journal.durability", "'relaxed'"),
        ({"ask_timeout": -1}, "ask_timeout", "or nothing"),
        ({"dispatchers": {"io": {"kind": "fiber"}}}, "dispatchers.io.kind", "'pool'"),
        ({"dispatchers": {"io": {"threds": 2}}}, "dispatchers.io.threds", "threads"),
        (
            {"dispatchers": {"io": {"kind": "asyncio", "threads": 2}}},
            "dispatchers.io",
            "no options",
        ),
    ],
)
def test_what_is_not_accepted_is_refused_by_name_with_what_is(settings, key, accepted):
    with pytest.raises(us.ConfigError) as caught:
        us.Config.load(environ={}, **settings)
    assert caught.value.key == key
    assert accepted in str(caught.value)
    assert "keyword argument" in str(caught.value)


def test_retention_is_off_or_between_an_hour_and_thirty_days():
    assert us.Config().retention.max_age is None
    environ = {"UNDERSTUDY_RETENTION_MAX_AGE": "3600", "UNDERSTUDY_RETENTION_ARCHIVE": "no"}
    config = us.Config.load(environ=environ)
    assert config.retention == us.RetentionConfig(max_age=3600.0, archive=False)
    for age in (3599, 2_592_001):
        with pytest.raises(us.ConfigError, match="at least 3600 and at most 2592000, or nothing"):
            us.Config(retention={"max_age": age})  # type: ignore[arg-type]  # a table


def test_constructing_checks_as_loading_does():
    with pytest.raises(us.ConfigError):
        us.Config(gateway={"port": -1})  # type: ignore[arg-type]  # a table
    with pytest.raises(us.ConfigError):
        us.Config(journal=us.JournalConfig(durability="maybe"))  # type: ignore[arg-type]  # refused
    config = us.Config(gateway={"port": 9})  # type: ignore[arg-type]  # a table
    assert config.gateway == us.GatewayConfig(port=9)


@pytest.mark.parametrize(
    "variable", ["UNDERSTUDY_GATEWAY_PROT", "UNDERSTUDY_ASK_TIMEOT", "UNDERSTUDY_DETECTOR_X"]
)
def test_a_misspelt_variable_is_refused(variable):
    with pytest.raises(us.ConfigError, match=variable):
        us.Config.load(environ={variable: "1"})


def test_variables_that_are_no_settings_are_left_alone():
    config = us.Config.load(environ={"UNDERSTUDY_STRESS_SECONDS": "600", "HOME": "/"})
    assert config == us.Config()


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("UNDERSTUDY_DETECTOR_ENABLED", "no", "detector.enabled", False),
        ("UNDERSTUDY_DETECTOR_ENABLED", "ON", "detector.enabled", True),
        ("UNDERSTUDY_ASK_TIMEOUT", "none", "ask_timeout", None),
        ("UNDERSTUDY_ASK_TIMEOUT", " 2.5 ", "ask_timeout", 2.5),
        ("UNDERSTUDY_DATA_DIR", "/data", "data_dir", "/data"),
    ],
)
def test_text_of_the_environment_is_read_as_what_the_setting_is(variable, text, name, value):
    assert us.Config.load(environ={variable: text}).get(name) == value


def test_unreadable_text_is_refused():
    with pytest.raises(us.ConfigError, match="true or false"):
        us.Config.load(environ={"UNDERSTUDY_DETECTOR_ENABLED": "perhaps"})
    with pytest.raises(us.ConfigError, match="whole number"):
        us.Config.load(environ={"UNDERSTUDY_GATEWAY_PORT": "3030.5"})


def test_it_is_frozen_all_the_way_down():
    config = us.Config(dispatchers={"io": {"threads": 2}})
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, "ask_timeout", 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config.gateway, "port", 1)
    table: Any = config.dispatchers["io"]
    with pytest.raises(TypeError):
        table["threads"] = 3


def test_items_list_every_setting_with_its_origin():
    config = us.Config.load(environ={}, dispatchers={"io": {"threads": 2}})
    items = {name: (value, origin) for name, value, origin in config.items()}
    assert items["gateway.port"] == (3030, "default")
    assert items["dispatchers.io.threads"] == (2, "keyword argument")
    assert config.to_dict()["dispatchers"] == {"io": {"kind": "pool", "threads": 2}}


def test_get_knows_its_names():
    with pytest.raises(KeyError):
        us.Config().get("gateway.prot")
    with pytest.raises(KeyError):
        us.Config().get("_origins")


def test_a_runtime_takes_its_settings(make_room):
    config = us.Config(ask_timeout=0.01, dispatchers={"io": {"threads": 2}})
    room = make_room(config=config)
    assert room.runtime.ask_timeout == 0.01
    assert "io" in room.runtime.dispatchers


def test_heartbeats_check_their_options():
    assert us.Heartbeat().interval == 2.0
    assert us.Heartbeat(timeout=1.0).interval == 0.5
    with pytest.raises(ValueError, match="timeout=0"):
        us.Heartbeat(timeout=0)
    with pytest.raises(ValueError, match="on_frozen"):
        us.Heartbeat(on_frozen="panic")  # type: ignore[arg-type]  # refused
