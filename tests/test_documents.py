"""What README and docs print runs as printed; the headings of the semantics are kept."""

from __future__ import annotations

import operator
import os
import pathlib
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer

import understudy as us
import understudy.agents as us_agents
import understudy.gateway as us_gateway
from understudy.cli import app

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# The reference is made from the docstrings, whose examples are tested where they stand.
WRITTEN = [page for page in PAGES if page.name != "api.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What a program prints, as its page says: by page and number of the block.
PRINTS = {
    ("README.md", 1): ["1 2", "1"],
    ("README.md", 2): ["first 5", "second 10"],
    ("docs/tutorial.md", 1): ["/user/office", "hello: 3 seats left", "2", "seat 2 is not free"],
    ("docs/tutorial.md", 2): ["1", "1", "theatre"],
    ("docs/tutorial.md", 3): ["evening 1 1", "evening 2 2"],
    ("docs/tutorial.md", 4): [
        "You asked for two seats",
        "You asked for two seats",
        "['user_message', 'token', 'message']",
    ],
    ("docs/guides/journal.md", 1): ["1 1 1", "1 deposited {'amount': 5}", "2 withdrawn"],
    ("docs/guides/journal.md", 3): ["1000"],
    ("docs/guides/supervision.md", 1): ["2", "['two', 'one']"],
    ("docs/guides/supervision.md", 2): [
        *("source up", "filter up", "sink up"),
        *("sink down", "filter up", "sink up"),
        *("sink down", "filter down", "source down"),
    ],
    ("docs/guides/supervision.md", 3): ["/user/fragile RestartLimit(ValueError(3))"],
    ("docs/guides/supervision.md", 4): ["15.25"],
    ("docs/guides/supervision.md", 5): ["42 1"],
    ("docs/guides/supervision.md", 7): ["2", "True"],
}
# What an effect prints comes when it comes.
LATER = re.compile(r"mailing[^\n]*?seats( as mail-m1)?|^mailing$", re.MULTILINE)


def programs() -> list[Any]:
    found = []
    for page in WRITTEN:
        name = str(page.relative_to(ROOT))
        for number, block in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), 1):
            found.append(pytest.param(block, PRINTS.get((name, number), []), id=f"{name}-{number}"))
    return found


def run(program: str, folder: pathlib.Path) -> str:
    script = folder / "program.py"
    script.write_text(program, encoding="utf-8")
    how = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if "\ndef test_" in program else []
    done = subprocess.run(
        [sys.executable, *how, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "UNDERSTUDY_DATA_DIR": str(folder / "data")},
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("program", "prints"), programs())
def test_a_printed_program_runs_and_prints_what_its_page_says(
    program: str, prints: list[str], tmp_path: pathlib.Path
) -> None:
    printed = run(program, tmp_path)
    assert "Traceback" not in printed
    lines = [line for line in LATER.sub("", printed).splitlines() if line]
    assert [line[: len(wanted)] for line, wanted in zip(lines, prints, strict=False)] == prints, (
        printed
    )


def test_every_printed_program_uses_understudy_and_every_expectation_has_its_program() -> None:
    found = {}
    for page in WRITTEN:
        name = str(page.relative_to(ROOT))
        for number, block in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), 1):
            found[name, number] = block
    assert all(
        re.search(r"^(import|from) understudy", block, re.MULTILINE) for block in found.values()
    )
    assert set(PRINTS) <= set(found)


def test_every_name_of_understudy_in_the_documents_is_there() -> None:
    wrong = []
    for page in (*WRITTEN, ROOT / "examples/README.md"):
        for name in re.findall(r"\bus\.([A-Za-z_][A-Za-z_.]*[A-Za-z_])", page.read_text("utf-8")):
            try:
                operator.attrgetter(name)(us)
            except AttributeError:
                wrong.append(f"{page.relative_to(ROOT)}: us.{name}")
    assert not wrong


def commands() -> list[tuple[str, list[str]]]:
    """Each line that a console block begins with `$ understudy`, with the page."""
    found = []
    for page in PAGES:
        for block in re.findall(
            r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            for line in re.findall(r"^\$ (understudy\b.*)$", block, re.MULTILINE):
                found.append((str(page.relative_to(ROOT)), shlex.split(line, comments=True)[1:]))
    return found


def resolved(words: list[str]) -> tuple[Any, list[str]]:
    """The command that these words name, and what is left of them."""
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "get_command"):
        context = command.context_class(command, info_name="understudy")
        inner = command.get_command(context, words[0])
        if inner is None:
            break
        command, words = inner, words[1:]
    return command, words


def options(command: Any) -> set[str]:
    context = command.context_class(command, info_name="understudy")
    every = {
        name for part in command.get_params(context) for name in (*part.opts, *part.secondary_opts)
    }
    return every - {"--help", "-h"}


def test_every_command_the_documents_print_exists_with_its_options() -> None:
    wrong = []
    for page, words in commands():
        command, rest = resolved(words)
        if command.name == "bench":  # `bench kernel` means `bench run kernel`
            command, rest = resolved(["bench", "run", *rest])
        given = {word.partition("=")[0] for word in rest if word.startswith("-")}
        if hasattr(command, "get_command") and rest and not rest[0].startswith("-"):
            wrong.append(f"{page}: {words}")
        wrong += [
            f"{page}: {words}: {name}"
            for name in given - options(command) - {"--help", "--version"}
        ]
    assert len(commands()) > 15
    assert not wrong


PAGES_OF_COMMANDS = {
    "docs/reference/command.md": [["serve"], ["tree"], ["config", "show"]],
    "docs/reference/journal-command.md": [
        *(["journal", name] for name in resolved(["journal"])[0].list_commands(None)),
        *(
            ["journal", "archive", name]
            for name in resolved(["journal", "archive"])[0].list_commands(None)
        ),
        *(["storage", name] for name in resolved(["storage"])[0].list_commands(None)),
    ],
}


@pytest.mark.parametrize("page", PAGES_OF_COMMANDS)
def test_the_pages_of_the_commands_name_each_command_and_option_and_no_other(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    real = {"--help", "--version"}
    for words in PAGES_OF_COMMANDS[page]:
        assert words[-1] in text, words
        long = {name for name in options(resolved(words)[0]) if name.startswith("--")}
        # The other side of a switch that is on by default is the one that is told.
        untold = {name for name in long if name not in text and f"--no-{name[2:]}" not in text}
        assert not untold - {"--yes"}, words
        real |= long
    assert not set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - real


def test_every_setting_stands_on_the_page_of_the_configuration_with_its_default() -> None:
    text = (ROOT / "docs/guides/configuration.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (\S*) ?\|", text, re.MULTILINE))
    settings = {
        name: "-" if value is None else str(value).lower() for name, value, _ in us.Config().items()
    }
    assert rows == settings


def test_every_metric_stands_on_its_page() -> None:
    text = (ROOT / "docs/guides/observability.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(understudy_[a-z_]+)`", text))
    with us.ActorSystem("office") as system:
        made = us.gateway.app(us.SessionHost(system, agents={}))
        body, _ = made.state.gateway.metrics.render("")
    real = set(re.findall(r"^# TYPE (understudy_\w+) ", body.decode(), re.MULTILINE))
    assert told == real


def test_every_error_of_the_gateway_stands_in_its_table() -> None:
    table = (ROOT / "docs/guides/gateway.md").read_text(encoding="utf-8")
    told = set(
        re.findall(r"`([a-z_]+)`", "\n".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    )
    gateway, agents = (pathlib.Path(str(room.__file__)).parent for room in (us_gateway, us_agents))
    source = "".join(path.read_text(encoding="utf-8") for path in sorted(gateway.glob("*.py")))
    raised = set(re.findall(r"(?:GatewayError|Verdict)\(\s*\"([a-z_]+)\"", source))
    session = (agents / "_session.py").read_text(encoding="utf-8")
    raised |= set(re.findall(r"\(\s*\"([a-z]+_[a-z]+|interrupted)\",\s", session))
    assert len(raised) > 20
    assert not raised - told


def test_the_first_program_of_the_readme_has_at_most_25_lines() -> None:
    first = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0]
    assert len(first.splitlines()) <= 25


def test_every_local_link_of_the_documents_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {target}")
    assert not broken


def test_no_heading_of_the_semantics_is_said_twice() -> None:
    headings = re.findall(
        r"^#+ (.+)$", (ROOT / "docs/semantics.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(headings) == len(set(headings))
    assert "Not promised" in headings


def test_the_office_of_the_tutorial_can_be_served() -> None:
    blocks = BLOCK.findall((ROOT / "docs/tutorial.md").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    exec(blocks[-1], names)
    with us.ActorSystem("office") as system:
        host = names["app"](system)
        assert sorted(host.agents) == ["clerk"]
        assert us.gateway.app(host).state.gateway.host is host


def test_the_tree_without_code_is_loaded_and_runs(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs/guides/supervision.md").read_text(encoding="utf-8")
    [toml] = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "shop.toml").write_text(toml, encoding="utf-8")
    (tmp_path / "tills.toml").write_text(
        '[supervisor]\nname = "Tills"\n\n[[supervisor.children]]\nid = "one"\n'
        'class = "shop.stock:Stock"\nargs = [1]\n',
        encoding="utf-8",
    )
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "stock.py").write_text(
        "import understudy as us\n\n\nclass Stock(us.Actor):\n"
        "    def __init__(self, amount):\n        super().__init__()\n"
        "        self.amount = amount\n\n"
        "    def on_receive(self, message):\n        return self.amount\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with us.ActorSystem("shop") as system:
        system.spawn(us.load_tree(tmp_path / "shop.toml"), name="shop")
        amounts = [
            ref.ask("?", timeout=5.0)
            for path in ("/user/shop/stock", "/user/shop/tills/one")
            if (ref := system.lookup(path)) is not None
        ]
    assert amounts == [100, 1]
    for name in ("shop", "shop.stock"):
        monkeypatch.delitem(sys.modules, name)
