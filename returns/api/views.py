"""The REST views of returns. Views parse and answer; services commit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from uuid import UUID

from django.http import Http404, HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.auth.authentication import authenticated_user
from api.auth.permissions import AsStaffMay
from api.problems.exceptions import Problem
from api.requests.parsing import parse
from api.resources.creation import answer_made, create_once, idempotency_key, key_problems
from api.resources.problem_types import NOT_CANCELLABLE
from api.resources.records import Made, fingerprint_of
from api.resources.timeline import SagaTimelineView
from api.resources.views import SagaCancelView, SagaListView, SagaView
from returns import services
from returns.api import openapi
from returns.api.filters import ReturnFilters
from returns.api.problem_types import NOT_RETURNABLE, RETURN_TOO_LARGE
from returns.api.requests import NewGoodwill
from returns.api.resource import RETURNS
from returns.api.serializers import ReturnEventSerializer
from returns.kind import CANCELLED_BY_SHOP
from returns.models import IdempotencyKey, Return
from returns.status import FREED
from sagas.kinds import SagaKind

__all__ = [
    "CancelReturnView",
    "GoodwillView",
    "OrderReturnsView",
    "ReturnTimelineView",
    "ReturnView",
    "ReturnsView",
]


ACCEPTED = "The return is accepted: its refund is decided, so it can no longer be cancelled."


@openapi.order_returns_view
class OrderReturnsView(APIView):
    """Requests returns of an order."""

    rate_limits: ClassVar = {"POST": "orders"}

    def post(self, request: Request, order_id: UUID) -> HttpResponse:
        """Request a return of pieces of your own fulfilled order.

        An order may have several returns, until nothing of it is left. The answer comes as soon as
        the return is stored; `GET` shows its progress. With `Prefer: wait` it shows the return
        after the wait, also for a reused key.
        """
        user = authenticated_user(request).pk
        key, new = idempotency_key(request, noun=RETURNS.noun), parse(request, services.NewReturn)
        with key_problems(RETURNS.noun), _refusals():
            requested = services.request_return(
                user_id=user,
                order_id=order_id,
                key=key,
                new=new,
                render=lambda row: RETURNS.render(row, reader=user),
            )
        made = Made(requested.return_id, requested.body, replayed=requested.replayed)
        return answer_made(request, RETURNS, made)


@openapi.goodwill_view
class GoodwillView(APIView):
    """Proposes goodwill for an order, as a member of staff."""

    permission_classes = (AsStaffMay,)
    write_actions: ClassVar = {"POST": services.GIVE_GOODWILL}

    @property
    def kinds(self) -> list[SagaKind]:
        """The kinds of sagas that the user must be permitted to view."""
        return services.kinds_of_goodwill()

    def post(self, request: Request, order_id: UUID) -> HttpResponse:
        """Propose to give back a part of an order's amount without goods.

        Staff need the permission `returns.give_goodwill`, and those to view orders and returns.
        Another person must approve it: see *Answer a wait*. The log of staff keeps the reason,
        which the customer does not see.
        """
        actor, new = authenticated_user(request), parse(request, NewGoodwill)

        def give() -> Return:
            return services.give_goodwill(
                actor, order_id=order_id, amount=new.amount, reason=new.reason, via="api"
            )

        with _refusals():
            return create_once(
                request,
                RETURNS,
                IdempotencyKey,
                fingerprint=fingerprint_of(new, of=f"goodwill {order_id}"),
                make=give,
            )


@openapi.returns_view
class ReturnsView(SagaListView):
    """Lists returns."""

    resource = RETURNS
    filterset_class = ReturnFilters
    orderings: ClassVar = {"-created_at": ("-id",), "created_at": ("id",)}


@openapi.return_view
class ReturnView(SagaView):
    """Reads one return."""

    resource = RETURNS


@openapi.return_timeline_view
class ReturnTimelineView(SagaTimelineView):
    """Lists or streams the events of a return."""

    resource = RETURNS
    serializer_class = ReturnEventSerializer


@openapi.cancel_return_view
class CancelReturnView(SagaCancelView):
    """Cancels a return: one's own as a customer, or another's as the shop."""

    resource = RETURNS

    def post(self, request: Request, pk: UUID) -> Response:
        """Cancel a return until it is accepted.

        202 means that it is being closed; 200 means that it was refused or cancelled before. Its
        pieces can be returned again then.

        Staff cancel the return of a customer as the shop. They need the permissions
        `console.add_run` and `returns.view_return`, and give a `reason`, which the log keeps.
        """
        return super().post(request, pk)

    def is_cancelled(self, row: Any) -> bool:
        """Tell whether the return was refused or cancelled."""
        return row.status in FREED

    def cancel_own(self, row: Any) -> None:
        """Cancel the return for its customer. Raises a `Problem` if it is accepted."""
        with _refusals():
            services.cancel_return(row)

    def cancel_by_shop(self, row: Any) -> None:
        """Cancel the return for the shop. Raises a `Problem` if it is accepted."""
        with _refusals():
            services.cancel_return(row, reason=CANCELLED_BY_SHOP)


@contextmanager
def _refusals() -> Iterator[None]:
    """Answer the errors of the services by their problems."""
    try:
        yield
    except services.OrderUnknown as error:
        raise Http404 from error
    except services.NotReturnable as error:
        raise Problem(NOT_RETURNABLE) from error
    except services.TooMuch as error:
        raise Problem(RETURN_TOO_LARGE, str(error), members={"left": error.left}) from error
    except services.ReturnAcceptedError as error:
        raise Problem(NOT_CANCELLABLE, ACCEPTED) from error
