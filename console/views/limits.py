"""The form that limits the calls to an outside system, on the page of holds."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from console.limits import change_limit
from sagas.definition.limits import Limit
from staff.policy import NotPermitted
from staff.writes import Rejected

__all__ = ["limit_calls"]


@require_POST
def limit_calls(request: HttpRequest) -> HttpResponse:
    """Set a limit, or let its default hold again."""
    given = {name: request.POST.get(name, "").replace("\0", "").strip() for name in FIELDS}
    try:
        is_default = given["action"] == "default"
        limit = (
            None
            if is_default
            else Limit(per_second=_number(given["per_second"]), at_once=_number(given["at_once"]))
        )
        outcome = change_limit(
            request.user,
            given["service"],
            given["key"],
            limit,
            reason=given["reason"],
            via="console",
        )
    except NotPermitted as error:
        raise PermissionDenied(str(error)) from error
    except Rejected as error:
        messages.error(request, str(error))
    else:
        messages.success(request, outcome)
    return redirect("console:holds")


FIELDS = ("action", "service", "key", "per_second", "at_once", "reason")


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Rejected(f"“{text[:20]}” is no number. Give a whole number, or nothing for no limit.")
    return int(text)
