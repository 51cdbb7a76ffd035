"""Pages and buttons of one order: its export, and drafts of an action on it."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST, require_safe

from console.bulk_actions.actions.mark_done import may_be_marked
from console.models import ON_ORDERS, Action, LogEntry
from console.order_page.export import exported
from console.order_page.order_detail import dossier_of
from console.views.runs import drafted
from orders.models import Order

__all__ = ["act", "export", "mark"]


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
