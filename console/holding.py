"""The page of what is on hold, and the ways to a draft about a step: of all orders, or of one,
as done by hand.
"""

from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from console.by_hand import may_be_marked
from console.holds import holds_now, steps
from console.models import Action
from console.views import drafted, drafted_for_all
from orders.models import Order

__all__ = ["hold_step", "holding", "mark"]

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


@require_POST
@permission_required("console.add_run", raise_exception=True)
def mark(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Make a draft that marks a step of one order as done by hand, and ask for the evidence."""
    order = get_object_or_404(Order, id=order_id)
    back, step = redirect("admin:orders_order_change", order.pk), request.POST.get("step", "")
    if not may_be_marked(step):
        messages.error(
            request, "This step cannot be marked as done by hand. Choose one of those on the page."
        )
        return back
    return drafted(request, Action.BY_HAND, [order.pk], step=step) or back
