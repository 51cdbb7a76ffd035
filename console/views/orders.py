"""One saga: its export as JSON, and the buttons that draft a run for it."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from console.access import existing_saga, require_permission, require_view
from console.admin.sagas import load_detail
from console.bulk_actions.actions.mark_done import MarkDone, can_be_marked_done
from console.bulk_actions.registry import UnknownAction, actions_on_one_order
from console.order_page.export import export_saga
from console.views.runs import draft_run
from sagas.kinds import kind_of
from staff.models import LogEntry

__all__ = ["act", "export", "mark_done"]


@require_safe
def export(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Download a saga in all its services as JSON."""
    row = existing_saga(order_id)
    kind = require_view(request, row)
    detail = load_detail(row)
    history = LogEntry.objects.filter(order_id=order_id).order_by("id")

    disposition = f'attachment; filename="{kind.singular}-{order_id}.json"'
    return HttpResponse(
        export_saga(detail, history=history),
        content_type="application/json",
        headers={"Content-Disposition": disposition},
    )


@require_POST
def act(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Draft an action on one saga, and show its preview."""
    row = existing_saga(order_id)
    name = request.POST.get("action", "")
    if name not in {action.name for action in actions_on_one_order()}:
        page = redirect(require_view(request, row).page(order_id))
        messages.error(request, str(UnknownAction(name)))
        return page

    kind = kind_of(type(row))
    require_permission(request, name, kinds=[kind], order_id=row.pk)
    page = redirect(kind.page(order_id))
    return draft_run(request, name, [row.pk]) or page


@require_POST
def mark_done(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Draft that a step of one saga was done by hand, and ask for the evidence."""
    row = existing_saga(order_id)
    step = request.POST.get("step", "")
    if not can_be_marked_done(step):
        page = redirect(require_view(request, row).page(order_id))
        messages.error(
            request,
            f"Step “{step}” cannot be marked as done by hand. Choose a step on the page.",
        )
        return page

    kind = kind_of(type(row))
    require_permission(request, MarkDone.name, kinds=[kind], order_id=row.pk, step=step)
    page = redirect(kind.page(order_id))
    return draft_run(request, MarkDone.name, [row.pk], step=step) or page
