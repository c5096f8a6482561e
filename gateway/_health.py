"""`/health`: whether to keep this process, and whether to send it work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.gateway._http import json_response

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy.gateway._gateway import Gateway
    from understudy.supervision import HealthReport


async def health(gateway: Gateway, _: Request) -> Response:
    """`GET /health`: all checks; 200 if the process should be given work, else 503."""
    report = await gateway.host.system.health.report_async()
    return json_response(report.as_dict(), 200 if report.ready and report.live else 503)


async def live(gateway: Gateway, _: Request) -> Response:
    """`GET /health/live`: 200 unless a restart of the process would help."""
    report = await gateway.host.system.health.report_async()
    return json_response(_part(report, live=True), 200 if report.live else 503)


async def ready(gateway: Gateway, _: Request) -> Response:
    """`GET /health/ready`: 200 if the process should be given work now."""
    report = await gateway.host.system.health.report_async()
    return json_response(_part(report, live=False), 200 if report.ready else 503)


def _part(report: HealthReport, *, live: bool) -> dict[str, object]:
    """The report of one probe: for liveness only the checks that count for it."""
    whole = report.as_dict()
    checks = whole["checks"]
    if live:
        checks = {name: check for name, check in checks.items() if check["live"]}
    return {"status": whole["status"], "live": report.live, "ready": report.ready, "checks": checks}
