"""The console's own pages beside those of the admin."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console import start

__all__ = ["live"]


@require_safe
@permission_required("orders.view_order", raise_exception=True)
def live(request: HttpRequest) -> HttpResponse:
    """Answer with the figures of the start page alone, for the page to renew itself."""
    return render(request, "console/live.html", start.sections())
