"""The call with which staff answer a wait of a saga of any kind.

A service may mount it for sagas of one kind under a path of its own:

path("trips/<uuid:pk>/signals/<str:step>/", SignalsView.as_view(model=Trip))
"""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.http import Http404
from django.utils.functional import cached_property
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.auth.authentication import authenticated_user
from api.auth.permissions import AsStaffMay
from api.openapi import problems
from api.problems.exceptions import FieldError, InvalidInput, Problem
from api.problems.problem_types import ACTION_REJECTED, FORBIDDEN, NOT_FOUND
from api.requests.parsing import convert, parse
from api.requests.reasons import Reason
from sagas import Event, SignalResult
from sagas.kinds import find_saga, kind_of
from sagas.models import TrackedSaga
from sagas.waits import WaitRule, WrongSignal, find_signal
from staff.policy import may_view
from staff.signals import SIGNAL, answer_wait, signal_action, wait_rule

__all__ = ["NewSignal", "SignalsView"]


RESULTS = (
    ("accepted", "this answer counts"),
    ("repeated", "an answer came before, which counts"),
)
SAGA_ID = OpenApiParameter(
    "id",
    OpenApiTypes.UUID,
    OpenApiParameter.PATH,
    description="The id of the order, of the return, or of another saga.",
)
STEP = OpenApiParameter(
    "step",
    OpenApiTypes.STR,
    OpenApiParameter.PATH,
    description="The name of the wait in the plan of the saga, such as `returns.receive`.",
)
THE_GOODS = {
    "type": "return.goods_received",
    "data": {"lines": [{"sku": "MUG", "restock": 1, "write_off": 0}]},
    "at": "2026-03-12T09:59:58.123456Z",
}
EXAMPLES = [
    OpenApiExample(
        "Goods of a return",
        {
            "type": "return.goods_received",
            "data": {"lines": [{"sku": "MUG", "restock": 1}]},
            "reason": "The parcel is here.",
        },
        request_only=True,
    ),
    OpenApiExample(
        "It counts",
        {"result": "accepted", "answer": THE_GOODS},
        response_only=True,
        status_codes=["202"],
    ),
    OpenApiExample(
        "An answer came before",
        {"result": "repeated", "answer": THE_GOODS},
        response_only=True,
        status_codes=["200"],
    ),
]


class NewSignal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to a wait: the type of its event, the fields of the event, and the reason."""

    type: Annotated[str, msgspec.Meta(max_length=100)]
    reason: Reason
    data: dict[str, Any] = {}


class GivenAnswerSerializer(serializers.Serializer[Any]):
    """The answer that counts: the type of its event, its fields, and when it came."""

    type = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]
    at = serializers.DateTimeField(allow_null=True)


class SignalResultSerializer(serializers.Serializer[Any]):
    """The effect of a signal, and the answer that counts."""

    result = serializers.ChoiceField(choices=RESULTS)
    answer = GivenAnswerSerializer(allow_null=True)


class SignalsView(APIView):
    """Answers a wait of a saga: of any kind, or only of sagas whose tracked rows are in `model`."""

    permission_classes = (AsStaffMay,)
    model: type[TrackedSaga] | None = None

    @property
    def write_actions(self) -> Mapping[str, str]:
        """The action of the policy that answers this wait.

        It depends on the kind of the saga. Users who are no staff get the same answer for all.
        """
        row = self.row if self.request.user.is_staff else None
        return {"POST": SIGNAL if row is None else signal_action(type(row), self.kwargs["step"])}

    @cached_property
    def row(self) -> TrackedSaga | None:
        """The tracked row of the saga in the path; None if there is none that the user may view."""
        saga = self.kwargs["pk"]
        if self.model is None:
            row = find_saga(saga)
        else:
            row = self.model._base_manager.filter(pk=saga).first()
        is_shown = row is not None and may_view(self.request.user, kind_of(type(row)))
        return row if is_shown else None

    @extend_schema(
        operation_id="answer_wait",
        summary="Answer a wait",
        tags=["sagas"],
        parameters=[SAGA_ID, STEP],
        request=NewSignal,
        responses={200: SignalResultSerializer, 202: SignalResultSerializer},
        examples=EXAMPLES,
        extensions=problems(FORBIDDEN, ACTION_REJECTED),
    )
    def post(self, request: Request, pk: UUID, step: str) -> Response:
        """Answer a wait, once.

        202 means that this answer counts, now or as soon as the saga waits. 200 means that an
        answer came before, which the body shows. This one has no effect then.

        If the wait has expired or is over, the answer is 409. Repeat the call after an error. A
        saga whose kind you may not view is 404.
        """
        row = self.row
        if row is None:
            raise Http404(f"There is no saga {pk}.")
        try:
            rule = wait_rule(row, step)
        except LookupError as error:
            raise Problem(NOT_FOUND, f"This saga has no wait {step!r}.") from error

        new = parse(request, NewSignal)
        event = _event(rule, new)
        actor = authenticated_user(request)
        try:
            result = answer_wait(actor, row, step, event, why=new.reason, via="api")
        except WrongSignal as error:
            raise InvalidInput(FieldError("data", "invalid", str(error))) from error

        answer = find_signal(step, row.pk)
        shown = {"type": answer.type, "data": answer.data, "at": answer.at} if answer else None
        status = 202 if result is SignalResult.ACCEPTED else 200
        return Response({"result": result.value, "answer": shown}, status)


def _event(rule: WaitRule, new: NewSignal) -> Event:
    """Return the event of an answer. Raises `InvalidInput`, which names the field."""
    types = rule.types()
    if new.type not in types:
        raise InvalidInput(FieldError("type", "invalid", f"One of: {', '.join(types)}."))
    return convert(new.data, types[new.type], under="data")
