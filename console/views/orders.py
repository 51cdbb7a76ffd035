"""One order: its export as JSON, and the buttons that draft a run for it."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST, require_safe

from console.bulk_actions.actions.mark_done import MarkDone, can_be_marked_done
from console.bulk_actions.registry import UnknownAction, bulk_actions
from console.models import LogEntry
from console.order_page.export import export_order
from console.order_page.order_detail import load_order_detail
from console.views.runs import draft_run
from orders.models import Order

__all__ = ["act", "export", "mark_done"]


@require_safe
@permission_required("orders.view_order", raise_exception=True)
def export(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Download an order in all its services as JSON."""
    order = get_object_or_404(Order.objects.select_related("user"), id=order_id)
    history = LogEntry.objects.filter(order_id=order_id).order_by("id")
    body = export_order(load_order_detail(order), history=history)

    disposition = f'attachment; filename="order-{order_id}.json"'
    return HttpResponse(
        body, content_type="application/json", headers={"Content-Disposition": disposition}
    )


@require_POST
@permission_required("console.add_run", raise_exception=True)
def act(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Draft an action on one order, and show its preview."""
    order = get_object_or_404(Order, id=order_id)
    order_page = redirect("admin:orders_order_change", order.pk)

    name = request.POST.get("action", "")
    if name not in {action.name for action in bulk_actions()}:
        messages.error(request, str(UnknownAction(name)))
        return order_page
    return draft_run(request, name, [order.pk]) or order_page


@require_POST
@permission_required("console.add_run", raise_exception=True)
def mark_done(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Draft that a step of one order was done by hand, and ask for the evidence."""
    order = get_object_or_404(Order, id=order_id)
    order_page = redirect("admin:orders_order_change", order.pk)

    step = request.POST.get("step", "")
    if not can_be_marked_done(step):
        messages.error(
            request,
            f"Step “{step}” cannot be marked as done by hand. Choose a step on the page.",
        )
        return order_page
    return draft_run(request, MarkDone.name, [order.pk], step=step) or order_page
