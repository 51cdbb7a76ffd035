"""The pages of failing steps: all groups, and one group with the runs against it."""

from django.contrib import admin
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console.failures.grouping import current_failures
from console.failures.history import past_runs

__all__ = ["list_failures", "show_failure"]


@require_safe
@permission_required("orders.view_order", raise_exception=True)
def list_failures(request: HttpRequest) -> HttpResponse:
    """Show the failing steps, grouped by step and error."""
    context = {
        **admin.site.each_context(request),
        "title": "Failures",
        "failures": current_failures(),
    }
    return render(request, "console/failures.html", context)


@require_safe
@permission_required("orders.view_order", raise_exception=True)
def show_failure(request: HttpRequest, key: str) -> HttpResponse:
    """Show the orders with one failure, and the past runs against it."""
    failures, past = current_failures(), past_runs(key)

    group = failures.get(key)
    about = f"{group.step}: {group.pattern}" if group else next((run.about for run in past), None)
    if about is None:
        if not failures.unreachable:
            raise Http404
        about = "The failure is in a database that does not answer, or there is none."

    context = {
        **admin.site.each_context(request),
        "title": "A failure",
        "failures": failures,
        "group": group,
        "past": past,
        "about": about,
    }
    return render(request, "console/failure.html", context)
