"""Pages beside a gateway."""

from __future__ import annotations

from understudy.gateway.console._pages import POLICY, pages

__all__ = ["POLICY", "pages"]
