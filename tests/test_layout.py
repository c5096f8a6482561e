"""The import map in setup.cfg and the link folder agree with the tree."""

from __future__ import annotations

import configparser
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARTS = ("actors", "supervision", "storage", "agents", "observability", "gateway", "benchmarks")


def test_every_package_folder_is_listed_in_setup_cfg() -> None:
    cfg = configparser.ConfigParser()
    cfg.read(ROOT / "setup.cfg")
    listed = set(cfg["options"]["packages"].split())
    found = {"understudy"}
    for part in PARTS:
        for init in (ROOT / part).rglob("__init__.py"):
            found.add(".".join(("understudy", *init.parent.relative_to(ROOT).parts)))
    for folder in (ROOT / "understudy").iterdir():
        if folder.is_dir() and not folder.is_symlink() and (folder / "__init__.py").exists():
            found.add(f"understudy.{folder.name}")
    assert listed == found


@pytest.mark.parametrize("part", PARTS)
def test_import_folder_links_to_the_real_one(part: str) -> None:
    link = ROOT / "understudy" / part
    if not link.is_symlink():
        pytest.skip("this checkout has no symlinks")
    assert link.resolve() == ROOT / part
