"""The page of current holds, and its buttons that draft a run about a step of all orders."""

from django.contrib import admin, messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from console.bulk_actions.action import HOLD_STEPS
from console.bulk_actions.registry import step_actions
from console.holds import current_holds, declared_steps
from console.views.runs import draft_run_for_step

__all__ = ["hold_step", "list_holds"]


@require_safe
@permission_required("orders.view_order", raise_exception=True)
def list_holds(request: HttpRequest) -> HttpResponse:
    """Show the steps and the orders on hold: since when, by whom, why, and how many orders wait."""
    holds = current_holds()
    held = {hold.step for hold in holds.steps}
    context = {
        **admin.site.each_context(request),
        "title": "On hold",
        "holds": holds,
        "free": [step for step in declared_steps() if step not in held],
        "may_hold_steps": request.user.has_perm(HOLD_STEPS),
    }
    return render(request, "console/holds.html", context)


@require_POST
@permission_required(HOLD_STEPS, raise_exception=True)
def hold_step(request: HttpRequest) -> HttpResponse:
    """Draft a hold or a release of a step for all orders, and show its preview."""
    name, step = request.POST.get("action", ""), request.POST.get("step", "")

    # A step of an earlier release may be on hold although no plan names it any more.
    held = {hold.step for hold in current_holds().steps}
    known_action = name in {action.name for action in step_actions()}
    if not known_action or step not in {*declared_steps(), *held}:
        messages.error(
            request, f"Unknown step “{step}” or action “{name}”. Choose a step on the page."
        )
        return redirect("console:holds")
    return draft_run_for_step(request, name, step)
