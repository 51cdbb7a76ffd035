"""Runs: draft, confirm, approve, decline, and the progress of one.

Every change is a POST with the admin's CSRF token, and checks the permission again.
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

from console.access import current_user, require_permission
from console.bulk_actions import runs
from console.bulk_actions.log import about_scope, log, rejection_kind
from console.bulk_actions.nouns import nouns_of
from console.bulk_actions.registry import UnknownAction, get_action, step_actions
from console.bulk_actions.results import ActionRejected, NotAllowed
from console.models import Run, RunItem
from console.tasks import work_soon
from sagas.definition.hold_scope import HoldScope
from staff.log import About
from staff.policy import may_view
from staff.writes import record_failure

__all__ = [
    "approve",
    "confirm",
    "decline",
    "draft_run",
    "draft_run_for_step",
    "may_view_run",
    "progress",
    "progress_of",
]

# Items of a run that its page lists.
SHOWN = 200


@require_POST
def confirm(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Start a draft, or send it for approval."""
    run = get_object_or_404(Run, id=run_id)
    kinds = runs.kinds_of_run(run, request.user)
    require_permission(request, _known_action(run), kinds=kinds, step=run.step)

    reason, reference, fingerprint = (
        request.POST.get(name, "").replace("\0", "") for name in ("reason", "reference", "seen")
    )
    return _change_run(
        request,
        run_id,
        lambda user: runs.confirm(
            run_id, by=user, reason=reason, reference=reference, fingerprint=fingerprint
        ),
    )


@require_POST
def approve(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Start a run that another person requested."""
    _require_decision(request, run_id)
    fingerprint = request.POST.get("seen", "")
    return _change_run(
        request, run_id, lambda user: runs.approve(run_id, by=user, fingerprint=fingerprint)
    )


@require_POST
def decline(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Decline a run that another person requested."""
    _require_decision(request, run_id)
    return _change_run(request, run_id, lambda user: runs.decline(run_id, by=user))


@require_safe
@permission_required("console.view_run", raise_exception=True)
def progress(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Render the progress of a run, for its page to replace its own."""
    run = get_object_or_404(Run, id=run_id)
    if not may_view_run(request, run):
        raise PermissionDenied
    return render(request, "console/progress.html", progress_of(run))


def may_view_run(request: HttpRequest, run: Run) -> bool:
    """Tell whether a user may view all sagas of a run. Looked up once per request."""
    known: dict[UUID, bool] = request.__dict__.setdefault("_runs_viewed", {})
    if run.id not in known:
        kinds = runs.kinds_of_run(run, request.user)
        known[run.id] = all(may_view(request.user, kind) for kind in kinds)
    return known[run.id]


def progress_of(run: Run) -> dict[str, Any]:
    """Return the progress of a run: how many items are in each state, and the first items."""
    numbers = dict(run.items.values_list("state").annotate(number=Count("id")))
    total = sum(numbers.values())
    items = list(run.items.order_by("state", "id")[:SHOWN])
    return {
        "run": run,
        "nouns": nouns_of(run, items),
        "for_all": run.action in {action.name for action in step_actions()},
        "counted": [(state.label, numbers[state]) for state in RunItem.State if state in numbers],
        "total": total,
        "finished": total - numbers.get(RunItem.State.PENDING, 0),
        "items": items,
        "shown": SHOWN,
    }


def draft_run(
    request: HttpRequest, action: str, orders: Sequence[UUID], *, step: str = ""
) -> HttpResponse | None:
    """Draft a run, and redirect to its preview. Where that is rejected, show why; return None.

    The log has a refusal of the policy.
    """
    about: About = {"subject": f"{len(orders)} sagas", "step": step}
    if len(orders) == 1:
        about = {"order_id": orders[0], "step": step}
    return _draft(
        request, action, about, lambda user: runs.draft(action, orders, by=user, step=step)
    )


def draft_run_for_step(request: HttpRequest, action: str, scope: HoldScope) -> HttpResponse | None:
    """Draft a run about a step of all sagas, or its calls to a destination, as above."""
    return _draft(
        request,
        action,
        about_scope(scope),
        lambda user: runs.draft_for_step(
            action, scope.step, by=user, destination=scope.destination
        ),
    )


def _draft(
    request: HttpRequest, action: str, about: About, draft: Callable[[User], Run]
) -> HttpResponse | None:
    user = current_user(request)
    try:
        return _redirect_to(draft(user).id)
    except ActionRejected as rejected:
        if isinstance(rejected, NotAllowed):
            kind = rejection_kind(rejected)
            record_failure(user, action, rejected, via="console", kind=kind, **about)
        messages.error(request, str(rejected))
        return None


def _require_decision(request: HttpRequest, run_id: UUID) -> None:
    """Raise PermissionDenied if the policy does not let the user decide on a run."""
    run = Run.objects.filter(id=run_id).first()
    kinds = runs.kinds_of_run(run, request.user) if run else []
    require_permission(request, runs.DECIDE, kinds=kinds, subject=str(run_id))


def _known_action(run: Run) -> str:
    """Return the action of a run, if this release has it. Raises Http404."""
    try:
        return get_action(run.action).name
    except UnknownAction as unknown:
        raise Http404 from unknown


def _change_run(request: HttpRequest, run_id: UUID, change: Callable[[User], Run]) -> HttpResponse:
    """Change the state of a run, wake the worker if it runs now, and redirect to its page."""
    try:
        run = change(current_user(request))
        if run.state == Run.State.RUNNING:
            work_soon()
    except ActionRejected as rejected:
        _log_rejection(request, run_id, rejected)
        messages.error(request, str(rejected))
    except Run.DoesNotExist:  # an old draft may be purged at this very moment
        raise Http404 from None
    return _redirect_to(run_id)


def _log_rejection(request: HttpRequest, run_id: UUID, rejected: ActionRejected) -> None:
    """Log that a change of a run was rejected, such as a person's approval of their own run."""
    run = Run.objects.get(id=run_id)
    about: About = {"outcome": str(rejected)}
    if not run.reason:  # a draft has none yet, so the entry has what the person wrote
        about["why"] = request.POST.get("reason", "").replace("\0", "")
    log(run, current_user(request), rejection_kind(rejected), about, via="console")


def _redirect_to(run_id: UUID) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:console_run_change", args=[run_id]))
