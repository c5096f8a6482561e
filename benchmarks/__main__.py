"""`python -m understudy.benchmarks` is `understudy bench`."""

from __future__ import annotations

from understudy.benchmarks.cli import app

if __name__ == "__main__":
    app(prog_name="python -m understudy.benchmarks")
