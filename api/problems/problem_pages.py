"""What the `type` of a problem leads to: a page for each kind, and docs/errors.md, both from
`api.problems.problem_types`.
"""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from api.problems.problem_types import all_problem_types, get_problem_type

__all__ = ["as_markdown", "error_page", "error_pages"]


@require_safe
def error_pages(request: HttpRequest) -> HttpResponse:
    """List all kinds of problems."""
    return render(request, "api/errors.html", {"kinds": all_problem_types()})


@require_safe
def error_page(request: HttpRequest, slug: str) -> HttpResponse:
    """Explain one kind of problem."""
    kind = get_problem_type(slug)
    if kind is None:
        raise Http404
    return render(request, "api/errors.html", {"kind": kind})


def as_markdown() -> str:
    """Return the text of docs/errors.md."""
    return render_to_string("api/errors.md", {"kinds": all_problem_types()}).rstrip() + "\n"
