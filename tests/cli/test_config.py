"""`understudy config show`: each setting, its value, and who set it."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import command
from understudy.actors import Config
from understudy.cli._config import rows


def shown(text: str) -> dict[str, tuple[str, str]]:
    found = {}
    for line in text.splitlines():
        name, value, origin = line.split(maxsplit=2)
        found[name] = (value, origin)
    return found


def test_every_setting_is_shown_with_where_it_comes_from(tmp_path) -> None:
    (tmp_path / "understudy.toml").write_text(
        '[gateway]\nport = 4000\n[sessions]\nmax_text_bytes = 1000\n[journal]\ndurability = "relaxed"\n'
    )
    done = command(
        "config", "show", cwd=tmp_path, UNDERSTUDY_GATEWAY_PORT="5000", UNDERSTUDY_DATA_DIR="here"
    )
    assert done.returncode == 0, done.stderr
    found = shown(done.stdout)
    assert found["gateway.port"] == ("5000", "environment UNDERSTUDY_GATEWAY_PORT")
    assert found["journal.durability"] == ("relaxed", "file understudy.toml")
    assert found["sessions.max_text_bytes"] == ("1000", "file understudy.toml")
    assert found["data_dir"] == ("here", "environment UNDERSTUDY_DATA_DIR")
    assert found["detector.enabled"] == ("true", "default")
    assert found["ask_timeout"] == ("-", "default")
    assert set(found) == {name for name, _, _ in Config().items()}


def test_the_same_as_data(tmp_path) -> None:
    done = command("config", "show", "--json", cwd=tmp_path, PORT="7")
    found = json.loads(done.stdout)
    assert found["gateway.port"] == {"value": 7, "origin": "environment PORT"}
    assert found["gateway.host"] == {"value": "127.0.0.1", "origin": "default"}


def test_a_named_file_is_read(tmp_path) -> None:
    (tmp_path / "mine.toml").write_text("shutdown_timeout = 3.5\n")
    done = command("config", "show", "--file", "mine.toml", cwd=tmp_path)
    assert shown(done.stdout)["shutdown_timeout"] == ("3.5", "file mine.toml")


@pytest.mark.parametrize(
    ("file", "env", "words"),
    [
        ("[gateway]\nprot = 1\n", {}, ["gateway.prot", "port", "understudy.toml"]),
        ("[gateway]\nport = 'many'\n", {}, ["gateway.port", "many"]),
        ("not toml", {}, ["understudy.toml"]),
        ("", {"UNDERSTUDY_GATEWAY_PROT": "1"}, ["UNDERSTUDY_GATEWAY_PROT"]),
        ("", {"PORT": "many"}, ["PORT is 'many'"]),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name_in_one_line(tmp_path, file, env, words) -> None:
    (tmp_path / "understudy.toml").write_text(file)
    done = command("config", "show", cwd=tmp_path, **env)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    for word in words:
        assert word in line


def test_a_file_that_is_not_there_is_named(tmp_path) -> None:
    done = command("config", "show", "--file", "none.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "none.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_rows_are_those_of_the_configuration(monkeypatch) -> None:
    monkeypatch.delenv("PORT", raising=False)
    loaded = Config()
    assert rows(loaded) == list(loaded.items())
    monkeypatch.setenv("PORT", "99")
    assert ("gateway.port", 99, "environment PORT") in rows(loaded)
