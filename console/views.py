"""The console's own pages beside those of the admin: live figures, and everything that changes
something.

What changes something is a POST with the admin's CSRF token, and asks again here whether this
person may.
"""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from console import runs, start
from console.dossier import dossier_of
from console.export import exported
from console.failures import failures
from console.history import history_of
from console.models import ON_ORDERS, LogEntry, Run, RunItem
from console.rights import may
from console.tasks import work_soon
from orders.models import Order

__all__ = [
    "act",
    "approve",
    "confirm",
    "decline",
    "drafted",
    "drafted_for_all",
    "export",
    "failing",
    "failure",
    "live",
    "progress",
    "progress_of",
]

# Rows of a run that its page shows: what went wrong first.
SHOWN = 200


@require_safe
@permission_required("orders.view_order", raise_exception=True)
def live(request: HttpRequest) -> HttpResponse:
    """Answer with the figures of the start page alone, for the page to renew itself."""
    return render(request, "console/live.html", start.sections())


@require_safe
@permission_required("orders.view_order", raise_exception=True)
def failing(request: HttpRequest) -> HttpResponse:
    """Show what fails now, grouped by step and error."""
    context = {**admin.site.each_context(request), "title": "Failures", "failures": failures()}
    return render(request, "console/failures.html", context)


@require_safe
@permission_required("orders.view_order", raise_exception=True)
def failure(request: HttpRequest, key: str) -> HttpResponse:
    """Show those that fail alike, and what was done about it before."""
    found, past = failures(), history_of(key)
    group = found.called(key)
    about = f"{group.step}: {group.shape}" if group else next((run.about for run in past), None)
    if about is None:
        raise Http404
    shown = {"title": "A failure", "failures": found, "group": group, "past": past, "about": about}
    return render(request, "console/failure.html", {**admin.site.each_context(request), **shown})


@require_safe
@permission_required("orders.view_order", raise_exception=True)
def export(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Answer with all there is to know of an order, as JSON."""
    order = get_object_or_404(Order.objects.select_related("user"), id=order_id)
    body = exported(
        dossier_of(order), history=LogEntry.objects.filter(order_id=order_id).order_by("id")
    )
    disposition = f'attachment; filename="order-{order_id}.json"'
    return HttpResponse(
        body, content_type="application/json", headers={"Content-Disposition": disposition}
    )


@require_POST
@permission_required("console.add_run", raise_exception=True)
def act(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Make a draft of an action on one order, and show what it would do."""
    order = get_object_or_404(Order, id=order_id)
    back = redirect("admin:orders_order_change", order.pk)
    action = request.POST.get("action", "")
    if action not in ON_ORDERS:
        messages.error(request, "There is no such action. Choose one of those on the page.")
        return back
    return drafted(request, action, [order.pk]) or back


@require_POST
def confirm(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Start a draft, or have it await approval."""
    if not may(_person(request), get_object_or_404(Run, id=run_id).action):
        raise PermissionDenied
    given = {
        name: request.POST.get(name, "").replace("\0", "")
        for name in ("reason", "reference", "seen")
    }
    return _moved(request, run_id, lambda by: runs.confirm(run_id, by=by, **given))


@require_POST
@permission_required("console.approve_run", raise_exception=True)
def approve(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Start what another person has requested."""
    seen = request.POST.get("seen", "")
    return _moved(request, run_id, lambda by: runs.approve(run_id, by=by, seen=seen))


@require_POST
@permission_required("console.approve_run", raise_exception=True)
def decline(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Have what another person has requested never run."""
    return _moved(request, run_id, lambda by: runs.decline(run_id, by=by))


@require_safe
@permission_required("console.view_run", raise_exception=True)
def progress(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Answer with how far a run is, for its page to renew itself."""
    return render(request, "console/progress.html", progress_of(get_object_or_404(Run, id=run_id)))


def progress_of(run: Run) -> dict[str, Any]:
    """Return how far a run is: how many of its rows are in which state, and the first of them."""
    counted = dict(run.items.values_list("state").annotate(number=Count("id")))
    total = sum(counted.values())
    return {
        "run": run,
        "counted": [
            (RunItem.State(state).label, counted[state])
            for state in RunItem.State
            if state in counted
        ],
        "total": total,
        "finished": total - counted.get(RunItem.State.PENDING, 0),
        "items": run.items.order_by("state", "id")[:SHOWN],
        "shown": SHOWN,
    }


def drafted(
    request: HttpRequest, action: str, orders: Sequence[UUID], *, step: str = ""
) -> HttpResponse | None:
    """Make a draft and lead to its preview; None, and a message that says why, where there can
    be none.
    """
    try:
        return _to(runs.begin(action, orders, by=_person(request), step=step).id)
    except runs.NotNow as refused:
        messages.error(request, str(refused))
        return None


def drafted_for_all(request: HttpRequest, action: str, step: str) -> HttpResponse:
    """Make a draft about a step of all orders, and lead to its preview."""
    return _to(runs.begin_for_all(action, step, by=_person(request)).id)


def _moved(request: HttpRequest, run_id: UUID, move: Callable[[User], Run]) -> HttpResponse:
    """Move a run on, have its orders worked off if it runs now, and show it; or why it was not
    moved.
    """
    try:
        if move(_person(request)).state == Run.State.RUNNING:
            work_soon()
    except runs.NotNow as refused:
        messages.error(request, str(refused))
    except Run.DoesNotExist:  # a draft may be forgotten at this very moment
        raise Http404 from None
    return _to(run_id)


def _to(run_id: UUID) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:console_run_change", args=[run_id]))


def _person(request: HttpRequest) -> User:
    """Return who asks, as a row: the request has but a proxy of it."""
    return User.objects.get(username=request.user.get_username())
