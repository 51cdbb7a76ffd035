"""The result of the last reconciliation, for the start page and the metrics. Reads only."""

from datetime import datetime

from django.conf import settings
from msgspec import Struct

from payments.models import Drift, Reconciliation
from sagas.queries import COUNT_LIMIT

__all__ = ["GatewayResult", "LastResult", "last_result"]


class GatewayResult(Struct, frozen=True, kw_only=True):
    """The scheduled reconciliation of one gateway.

    `finished_at`, `since` and `until` are of the last window that was compared whole; None before
    the first. `compared_until`: no later movement is compared yet. `error` says why the statement
    of the window in progress could not be compared; empty if it could.
    """

    gateway: str
    since: datetime | None
    until: datetime | None
    finished_at: datetime | None
    compared_until: datetime | None
    error: str


class LastResult(Struct, frozen=True, kw_only=True):
    """The last scheduled reconciliation of every gateway.

    `open`: how many differences no person has closed, of all windows, up to COUNT_LIMIT.
    """

    gateways: tuple[GatewayResult, ...]
    open: int

    @property
    def finished_at(self) -> datetime | None:
        """The end of the last run of the gateway that is furthest behind; None if any has none."""
        times = [each.finished_at for each in self.gateways]
        return None if None in times else min(time for time in times if time)

    @property
    def error(self) -> str:
        """Why a window in progress could not be compared; empty if all could."""
        return "\n".join(each.error for each in self.gateways if each.error)


def last_result() -> LastResult:
    """Return the result of the last scheduled reconciliation.

    It lists the configured gateway, and each other gateway whose window is in progress. It reads
    the payments database, so it raises if that is down.
    """
    rows = Reconciliation.objects.filter(scheduled=True)
    in_progress = {_name(row): row for row in rows.filter(finished_at=None)}
    finished = rows.exclude(finished_at=None).order_by("gateway", "-id").distinct("gateway")
    last = {_name(row): row for row in sorted(finished, key=lambda row: row.id)}
    names = sorted({settings.PAYMENT_GATEWAY, *in_progress})
    return LastResult(
        gateways=tuple(_of_gateway(name, last.get(name), in_progress.get(name)) for name in names),
        open=Drift.objects.filter(closed_at=None)[:COUNT_LIMIT].count(),
    )


def _name(row: Reconciliation) -> str:
    return row.gateway or settings.PAYMENT_GATEWAY


def _of_gateway(
    name: str, last: Reconciliation | None, in_progress: Reconciliation | None
) -> GatewayResult:
    times = [last.until if last else None, in_progress.compared_until if in_progress else None]
    return GatewayResult(
        gateway=name,
        since=last.since if last else None,
        until=last.until if last else None,
        finished_at=last.finished_at if last else None,
        compared_until=max((time for time in times if time), default=None),
        error=in_progress.error if in_progress else "",
    )
