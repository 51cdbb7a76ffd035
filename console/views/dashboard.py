"""The figures of the start page, which the page itself renews."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console.approvals import notices_for
from console.dashboard.sections import sections
from console.visible_kinds import needs_any_kind

__all__ = ["live"]


@require_safe
@needs_any_kind
def live(request: HttpRequest) -> HttpResponse:
    """Render only the notices and figures, for the page to replace its own."""
    context = {**sections(request.user), "notices": notices_for(request.user)}
    return render(request, "console/live.html", context)
