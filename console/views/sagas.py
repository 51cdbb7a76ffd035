"""The list of the sagas of all kinds, and the way from a saga's id to its page."""

from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from console.access import existing_saga, require_view
from console.saga_list import SHOWN, WANTED, find_sagas
from console.visible_kinds import visible_kinds

__all__ = ["list_sagas", "show_saga"]


@require_safe
def list_sagas(request: HttpRequest) -> HttpResponse:
    """Show the sagas of all kinds that the user may view, and how to help the stuck ones."""
    permitted = visible_kinds(request.user).kinds
    if not permitted:
        raise PermissionDenied
    wanted = request.GET.get("show", "attention")
    name = request.GET.get("kind", "")
    kinds = [kind for kind in permitted if name in {"", kind.name, kind.home}]
    if wanted not in WANTED or not kinds:
        raise Http404("There is no such list of sagas. Choose one on the page.")

    context = {
        **admin.site.each_context(request),
        "title": "Sagas",
        "found": find_sagas(kinds, wanted),
        "kinds": permitted,
        "hidden": visible_kinds(request.user).hidden,
        "chosen": name,
        "wanted": wanted,
        "choices": WANTED,
        "shown": SHOWN,
    }
    return render(request, "console/sagas.html", context)


@require_safe
def show_saga(request: HttpRequest, saga: UUID) -> HttpResponse:
    """Redirect to the page of a saga of any kind. A home that may have it must answer."""
    return redirect(require_view(request, existing_saga(saga)).page(saga))
