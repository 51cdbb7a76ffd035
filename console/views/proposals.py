"""The page with which staff start a saga about another one, such as a refund for a purchase."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from console.access import current_user, existing_saga, require_permission, require_view
from console.form_input import MOST_REASON, read_text
from console.related_facts import proposals_about
from sagas.ids import uuid7
from sagas.kinds import Proposal, kind_of
from sagas.models import TrackedSaga
from staff.policy import NotPermitted
from staff.writes import Rejected

__all__ = ["propose"]

# Characters of an input.
MOST_INPUT = 200


@require_http_methods(["GET", "HEAD", "POST"])
def propose(request: HttpRequest, saga: UUID, name: str) -> HttpResponse:
    """Show the form of a proposal, its preview, or start the saga once it is confirmed."""
    row = existing_saga(saga)
    found = [each for each in proposals_about(row) if each.proposal.name == name]
    if not found:
        require_view(request, row)
        raise Http404(f"The saga {saga} has no form {name!r}.")
    proposal, kinds = found[0]
    require_permission(request, proposal.action, kinds=kinds, order_id=row.pk)

    effects: list[str] = []
    if request.method == "POST":
        try:
            given, reason = _inputs(request, proposal)
            if "confirm" in request.POST:
                made = proposal.submit(current_user(request), given, reason, _key(request))
                messages.success(request, f"{proposal.label}: {made} is started.")
                return redirect(kind_of(type(row)).page(row.pk))
            effects = list(proposal.preview(given))
        except NotPermitted as error:
            raise PermissionDenied(str(error)) from error
        except (Rejected, ValueError) as error:
            messages.error(request, str(error))
    return render(request, "console/proposal.html", _context(request, row, proposal, effects))


def _inputs(request: HttpRequest, proposal: Proposal) -> tuple[dict[str, str], str]:
    """Return the inputs of the form, and the reason. Raises `Rejected`."""
    given = {field: read_text(request, field, MOST_INPUT) for field in proposal.fields}
    reason = read_text(request, "reason", MOST_REASON)
    if not reason:
        raise Rejected("Give a reason. The log keeps it.")
    return given, reason


def _key(request: HttpRequest) -> str:
    """Return the key of the preview. Raises `Rejected`."""
    try:
        return str(UUID(request.POST.get("key", "")))
    except ValueError as error:
        raise Rejected("Look at the preview first, and confirm it there.") from error


def _context(
    request: HttpRequest, row: TrackedSaga, proposal: Proposal, effects: list[str]
) -> dict[str, Any]:
    """Return the context of the form. The key makes a form that is sent twice count once."""
    return {
        **admin.site.each_context(request),
        "title": proposal.label,
        "proposal": proposal,
        "saga": row,
        "page": kind_of(type(row)).page(row.pk),
        "inputs": [
            (name, label, request.POST.get(name, "")) for name, label in proposal.fields.items()
        ],
        "reason": request.POST.get("reason", ""),
        "effects": effects,
        "key": uuid7(),
        "most_input": MOST_INPUT,
        "most_reason": MOST_REASON,
    }
