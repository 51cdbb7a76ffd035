"""The start page's figures, renewed by the page itself."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console.dashboard import sections

__all__ = ["live"]


@require_safe
@permission_required("orders.view_order", raise_exception=True)
def live(request: HttpRequest) -> HttpResponse:
    """Answer with the figures of the start page alone, for the page to renew itself."""
    return render(request, "console/live.html", sections.sections())
