"""The page of current holds, and its buttons that draft a run about a step of all sagas."""

from dataclasses import replace

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from console.access import require_permission
from console.bulk_actions.actions.hold_step import HoldStep
from console.bulk_actions.actions.release_step import ReleaseStep
from console.bulk_actions.log import about_scope
from console.bulk_actions.registry import is_permitted, step_actions
from console.holds import current_holds, declared_steps
from console.limits import LOWER, RAISE, current_limits
from console.partial_reader import PartialReader
from console.views.runs import draft_run_for_step
from console.visible_kinds import hidden_among, kinds_of_step, needs_any_kind, visible_kinds
from sagas.definition.hold_scope import HoldScope
from sagas.storage.registry import service_names
from staff.policy import decide

__all__ = ["hold_step", "list_holds"]


@require_safe
@needs_any_kind
def list_holds(request: HttpRequest) -> HttpResponse:
    """Show the steps and the sagas on hold: since when, by whom, why, and how many sagas wait."""
    visible = visible_kinds(request.user)
    holds = current_holds(visible.shows)
    current = current_limits(PartialReader(holds.unreachable))
    held = {hold.step for hold in holds.steps if not hold.destination}
    steps = [hold for hold in holds.steps if visible.shows_step(hold.step)]
    free = [step for step in declared_steps() if step not in held]
    context = {
        **admin.site.each_context(request),
        "title": "On hold",
        "holds": replace(
            holds,
            steps=steps,
            failing=[step for step in holds.failing if visible.shows_step(step.step)],
        ),
        "free": [step for step in free if not hidden_among(request.user, (), step)],
        # A run about a step is about all sagas that may have it.
        "own": [hold.step for hold in steps if not hidden_among(request.user, (), hold.step)],
        "current": current,
        "hidden": visible.hidden,
        "services": service_names(),
        "may_limit": decide(request.user, LOWER).allowed,
        "may_raise": decide(request.user, RAISE).allowed,
        "may_pause": is_permitted(request.user, HoldStep.name),
        "may_release": is_permitted(request.user, ReleaseStep.name),
    }
    return render(request, "console/holds.html", context)


@require_POST
def hold_step(request: HttpRequest) -> HttpResponse:
    """Draft a hold or a release of a step for all sagas, or of its calls to one destination, and
    show its preview.
    """
    name, step = request.POST.get("action", ""), request.POST.get("step", "")
    # Taken as it is, because the form of a listed hold sends the name as it is stored.
    destination = request.POST.get("destination", "").replace("\0", "")

    # A step of an earlier release may be on hold although no plan names it any more.
    held = {hold.step for hold in current_holds().steps}
    known_action = name in {action.name for action in step_actions()}
    if not known_action or step not in {*declared_steps(), *held}:
        messages.error(
            request, f"Unknown step “{step}” or action “{name}”. Choose a step on the page."
        )
        return redirect("console:holds")
    scope = HoldScope(step, destination)
    require_permission(request, name, kinds=kinds_of_step(step), **about_scope(scope))
    return draft_run_for_step(request, name, scope) or redirect("console:holds")
