"""The settings of a system, from whatever was given as `config`."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

__all__ = ["read_config"]


def read_config(config: Any) -> Any:
    """A `Config` from a `Config`, a path of a TOML file, a mapping, or nothing."""
    try:
        from understudy.actors import Config
    except ImportError:
        return SimpleNamespace(
            detector=SimpleNamespace(enabled=True, timeout=4.0, sweep=0.5),
            journal=SimpleNamespace(durability="sync"),
            shutdown_timeout=30.0,
            ask_timeout=None,
        )
    if isinstance(config, Config):
        return config
    if config is None:
        return Config.load()
    if isinstance(config, (str, os.PathLike)):
        return Config.load(config)
    return Config.load(**config)
