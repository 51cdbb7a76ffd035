"""The pages of failing steps: all groups, and one group with the runs against it."""

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console.failures.grouping import current_failures
from console.failures.history import past_runs
from console.visible_kinds import needs_any_kind, visible_kinds

__all__ = ["list_failures", "show_failure"]


@require_safe
@needs_any_kind
def list_failures(request: HttpRequest) -> HttpResponse:
    """Show the failing steps, grouped by step and error."""
    visible = visible_kinds(request.user)
    context = {
        **admin.site.each_context(request),
        "title": "Failures",
        "failures": current_failures(visible.shows),
        "hidden": visible.hidden,
    }
    return render(request, "console/failures.html", context)


@require_safe
@needs_any_kind
def show_failure(request: HttpRequest, key: str) -> HttpResponse:
    """Show the sagas with one failure, and the past runs against it."""
    visible = visible_kinds(request.user)
    failures = current_failures(visible.shows)
    # The text of a run begins with the step of the failure.
    past = [run for run in past_runs(key) if visible.shows_step(run.about.partition(":")[0])]

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
        "hidden": visible.hidden,
        "group": group,
        "past": past,
        "about": about,
    }
    return render(request, "console/failure.html", context)
