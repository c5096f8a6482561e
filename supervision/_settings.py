"""The settings of a system, from whatever was given as `config`."""

from __future__ import annotations

import os
from typing import Any

from understudy.actors import Config

__all__ = ["read_config"]


def read_config(config: Any) -> Config:
    """A `Config` from a `Config`, the path of a TOML file, a mapping, or nothing.

    Raises:
        ConfigError: a key or value that is not accepted.

    """
    if isinstance(config, Config):
        return config
    if config is None:
        return Config.load()
    if isinstance(config, (str, os.PathLike)):
        return Config.load(config)
    return Config.load(**config)
