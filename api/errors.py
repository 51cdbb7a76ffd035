"""What the `type` of a problem leads to: a page for each kind, and docs/errors.md, both from
`api.kinds`.
"""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from api.kinds import kind_called, kinds

__all__ = ["as_markdown", "error_page", "error_pages"]


@require_safe
def error_pages(request: HttpRequest) -> HttpResponse:
    """List all kinds of problems."""
    return render(request, "api/errors.html", {"kinds": kinds()})


@require_safe
def error_page(request: HttpRequest, slug: str) -> HttpResponse:
    """Explain one kind of problem."""
    kind = kind_called(slug)
    if kind is None:
        raise Http404
    return render(request, "api/errors.html", {"kind": kind})


def as_markdown() -> str:
    """Return the text of docs/errors.md."""
    return render_to_string("api/errors.md", {"kinds": kinds()}).rstrip() + "\n"
