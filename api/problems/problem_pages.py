"""The pages that the `type` of a problem leads to, and docs/errors.md, from the problem types."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from api.problems.problem_types import all_problem_types, get_problem_type

__all__ = ["as_markdown", "problem_list", "problem_page"]


@require_safe
def problem_list(request: HttpRequest) -> HttpResponse:
    """List all problem types."""
    return render(request, "api/errors.html", {"problem_types": all_problem_types()})


@require_safe
def problem_page(request: HttpRequest, slug: str) -> HttpResponse:
    """Explain one problem type."""
    problem_type = get_problem_type(slug)
    if problem_type is None:
        raise Http404
    return render(request, "api/errors.html", {"problem_type": problem_type})


def as_markdown() -> str:
    """Return the text of docs/errors.md."""
    text = render_to_string("api/errors.md", {"problem_types": all_problem_types()})
    return text.rstrip() + "\n"
