"""The console's own pages beside those of the admin: live figures, and everything that changes
something.

What changes something is a POST with the admin's CSRF token, and asks again here whether this
person may.
"""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from console.bulk_actions import runs
from console.models import Run, RunItem
from console.permissions import may
from console.tasks import work_soon

__all__ = [
    "approve",
    "confirm",
    "decline",
    "drafted",
    "drafted_for_all",
    "progress",
    "progress_of",
]

# Rows of a run that its page shows: what went wrong first.
SHOWN = 200


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
