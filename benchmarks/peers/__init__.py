"""Libraries beside ours, each behind the few calls a scenario needs."""

from __future__ import annotations

__all__: list[str] = []
