"""One saga: its export as JSON, and the buttons that draft a run for it."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from console.access import require_permission
from console.admin.sagas import load_detail
from console.bulk_actions.actions.mark_done import MarkDone, can_be_marked_done
from console.bulk_actions.registry import UnknownAction, actions_on_one_order
from console.order_page.export import export_saga
from console.views.runs import draft_run
from sagas.kinds import find_saga, kind_of
from sagas.models import TrackedSaga
from staff.models import LogEntry

__all__ = ["act", "export", "mark_done"]


@require_safe
def export(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Download a saga in all its services as JSON."""
    row = _saga(order_id)
    kind = kind_of(type(row))
    if not request.user.has_perm(kind.view_permission):
        raise PermissionDenied
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
    row = _saga(order_id)
    page = redirect(kind_of(type(row)).page(order_id))

    name = request.POST.get("action", "")
    if name not in {action.name for action in actions_on_one_order()}:
        messages.error(request, str(UnknownAction(name)))
        return page
    require_permission(request, name, order_id=row.pk)
    return draft_run(request, name, [row.pk]) or page


@require_POST
def mark_done(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Draft that a step of one saga was done by hand, and ask for the evidence."""
    row = _saga(order_id)
    page = redirect(kind_of(type(row)).page(order_id))

    step = request.POST.get("step", "")
    if not can_be_marked_done(step):
        messages.error(
            request,
            f"Step “{step}” cannot be marked as done by hand. Choose a step on the page.",
        )
        return page
    require_permission(request, MarkDone.name, order_id=row.pk, step=step)
    return draft_run(request, MarkDone.name, [row.pk], step=step) or page


def _saga(saga: UUID) -> TrackedSaga:
    row = find_saga(saga)
    if row is None:
        raise Http404(f"There is no saga {saga}.")
    return row
