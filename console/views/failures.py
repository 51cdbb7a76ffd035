"""The pages of what fails."""

from django.contrib import admin
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console.failures.grouping import failures
from console.failures.history import history_of

__all__ = ["failing", "failure"]


@require_safe
@permission_required("orders.view_order", raise_exception=True)
def failing(request: HttpRequest) -> HttpResponse:
    """Show what fails now, grouped by step and error."""
    context = {**admin.site.each_context(request), "title": "Failures", "failures": failures()}
    return render(request, "console/failures.html", context)


@require_safe
@permission_required("orders.view_order", raise_exception=True)
def failure(request: HttpRequest, key: str) -> HttpResponse:
    """Show those that fail alike, and what was done about it before."""
    found, past = failures(), history_of(key)
    group = found.called(key)
    about = f"{group.step}: {group.shape}" if group else next((run.about for run in past), None)
    if about is None:
        raise Http404
    shown = {"title": "A failure", "failures": found, "group": group, "past": past, "about": about}
    return render(request, "console/failure.html", {**admin.site.each_context(request), **shown})
