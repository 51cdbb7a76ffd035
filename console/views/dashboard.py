"""The figures of the start page, which the page itself renews."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console.dashboard.sections import sections

__all__ = ["live"]


@require_safe
@permission_required("orders.view_order", raise_exception=True)
def live(request: HttpRequest) -> HttpResponse:
    """Render only the figures, for the page to replace its own."""
    return render(request, "console/live.html", sections())
