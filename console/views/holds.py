"""The page of what is on hold, and the ways to a draft about a step: of all orders, or of one,
as done by hand.
"""

from django.contrib import admin, messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from console.holds import holds_now, steps
from console.models import Action
from console.views.runs import drafted_for_all

__all__ = ["hold_step", "holding"]

FOR_ALL = {Action.HOLD_STEP, Action.RELEASE_STEP}


@require_safe
@permission_required("orders.view_order", raise_exception=True)
def holding(request: HttpRequest) -> HttpResponse:
    """Show which steps and which orders are on hold, since when, by whom, why, and how many wait
    behind.
    """
    holds = holds_now()
    held = {one.step for one in holds.steps}
    return render(
        request,
        "console/holds.html",
        {
            **admin.site.each_context(request),
            "title": "On hold",
            "holds": holds,
            "free": [step for step in steps() if step not in held],
            "may_hold_steps": request.user.has_perm("console.hold_step"),
        },
    )


@require_POST
@permission_required("console.hold_step", raise_exception=True)
def hold_step(request: HttpRequest) -> HttpResponse:
    """Make a draft that puts a step on hold for all, or releases it, and show what that would
    do.
    """
    action, step = request.POST.get("action", ""), request.POST.get("step", "")
    held = {
        one.step for one in holds_now().steps
    }  # also one of an earlier release, which no plan names any more
    if action not in FOR_ALL or step not in {*steps(), *held}:
        messages.error(
            request,
            "There is no such step, or nothing of the kind is done to one. Choose from the page.",
        )
        return redirect("console:holds")
    return drafted_for_all(request, action, step)
