"""The page on which an operator answers a wait of a saga: the answers, their effect, and a form."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from console.access import current_user, require_permission
from console.form_input import MOST_REASON, read_text
from console.open_waits import answers_to
from sagas import Event, SignalResult
from sagas.definition.plan import Plan
from sagas.kinds import find_saga, kind_of
from sagas.models import TrackedSaga
from sagas.strict_json import decode
from sagas.waits import WaitRule, WrongSignal, find_signal
from staff.policy import NotPermitted
from staff.signals import SIGNAL, answer_wait, signal_action, wait_rule
from staff.writes import Rejected

__all__ = ["answer"]

# Characters of the fields as JSON.
MOST_DATA = 20_000


@require_http_methods(["GET", "HEAD", "POST"])
def answer(request: HttpRequest, saga: UUID, step: str) -> HttpResponse:
    """Show the answers to a wait and the effect of each, or give one."""
    row = find_saga(saga)
    action = SIGNAL if row is None else signal_action(type(row), step)
    kinds = [] if row is None else [kind_of(type(row))]
    require_permission(request, action, kinds=kinds, order_id=saga, step=step)
    if row is None:
        raise Http404(f"There is no saga {saga}.")
    try:
        rule = wait_rule(row, step)
    except LookupError as error:
        raise Http404(f"This saga has no wait {step!r}.") from error

    if request.method == "POST" and _give(request, row, step, rule):
        return redirect(kind_of(type(row)).page(saga))
    return render(request, "console/signal.html", _context(request, row, step, rule))


def _context(request: HttpRequest, row: TrackedSaga, step: str, rule: WaitRule) -> dict[str, Any]:
    plan = msgspec.convert(row.plan, Plan)
    answers = answers_to(plan, step, rule)
    suggested = kind_of(type(row)).suggested_answer(row, step)
    return {
        **admin.site.each_context(request),
        "title": f"Answer {step}",
        "saga": row,
        "page": kind_of(type(row)).page(row.pk),
        "step": step,
        "answers": answers,
        "given": find_signal(step, row.pk),
        "type": request.POST.get("type", ""),
        "data": request.POST.get("data", _as_text(suggested) or answers[0].example),
        "reason": request.POST.get("reason", ""),
        "most_reason": MOST_REASON,
    }


def _give(request: HttpRequest, row: TrackedSaga, step: str, rule: WaitRule) -> bool:
    """Give the answer of the form, and say the result; return False if the form needs a change."""
    actor = current_user(request)
    try:
        reason = read_text(request, "reason", MOST_REASON)
        event = _event(rule, request)
        result = answer_wait(actor, row, step, event, why=reason, via="console")
    except NotPermitted as error:
        raise PermissionDenied(str(error)) from error
    except (Rejected, WrongSignal) as error:
        messages.error(request, str(error))
        return False

    if result is SignalResult.ACCEPTED:
        messages.success(request, f"{step} is answered with {event.type}.")
    else:
        messages.warning(request, f"{step} had an answer already, which counts. Nothing changed.")
    return True


def _event(rule: WaitRule, request: HttpRequest) -> Event:
    text = read_text(request, "data", MOST_DATA) or "{}"
    try:
        data = decode(text.encode())
    except ValueError as error:
        raise Rejected(f"The fields are no JSON: {error}.") from error
    if not isinstance(data, dict):
        raise Rejected("The fields are no JSON object, such as {}.")

    type_ = read_text(request, "type", 100)
    event = rule.event(type_, data)
    known = {field.encode_name for field in msgspec.structs.fields(type(event))}
    if unknown := sorted(data.keys() - known):
        raise Rejected(f"{type_} has no field {', '.join(unknown)}.")
    return event


def _as_text(fields: Mapping[str, Any] | None) -> str:
    return "" if fields is None else msgspec.json.encode(fields).decode()
