"""Make a saga's resource over REST: once for each idempotency key, answered at once or decided."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from uuid import UUID

from django.db import Error
from django.http import HttpResponse
from django.utils.cache import set_response_etag
from rest_framework.request import Request

from api.auth.authentication import authenticated_user
from api.problems.exceptions import FieldError, InvalidInput, Problem
from api.resources.models import IdempotencyRecord
from api.resources.problem_types import KEY_IN_FLIGHT, KEY_REUSED
from api.resources.records import KeyInFlight, KeyReused, Made, make_once
from api.resources.resource import SagaResource
from api.resources.waiting import applied, wait_as_preferred
from api.responses.etag import CACHED_PRIVATELY
from sagas.models import TrackedSaga

__all__ = ["IDEMPOTENCY_KEY", "answer_made", "create_once", "idempotency_key", "key_problems"]

logger = logging.getLogger(__name__)

IDEMPOTENCY_KEY = "Idempotency-Key"
# Two headers arrive as one value with a comma, which is one key like any other.
VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,255}")

R = TypeVar("R", bound=TrackedSaga)


def idempotency_key(request: Request, *, noun: str) -> str:
    """Return the idempotency key of a request. Raises `InvalidInput` without a valid one."""
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is None:
        detail = f"Send a key that you generate for each new {noun}."
        raise InvalidInput(FieldError(IDEMPOTENCY_KEY, "required", detail))
    if not VISIBLE_ASCII.fullmatch(key):
        detail = "Use 1 to 255 visible ASCII characters."
        raise InvalidInput(FieldError(IDEMPOTENCY_KEY, "invalid", detail))
    return key


def create_once(
    request: Request,
    resource: SagaResource,
    records: type[IdempotencyRecord],
    *,
    fingerprint: str,
    make: Callable[[], R],
) -> HttpResponse:
    """Make a resource for the request's key and answer 201, or repeat the answer to the key.

    `make` starts the saga and returns its tracked row, inside the transaction that stores the
    answer. `fingerprint` is the same for each spelling of one request (`fingerprint_of`). Call it
    outside of transactions.

    With `Prefer: wait` the answer shows the resource after the wait, also for a reused key. Without
    it, a reused key gets the original answer, byte for byte.
    """
    user = authenticated_user(request).pk
    key = idempotency_key(request, noun=resource.noun)
    with key_problems(resource.noun):
        made = make_once(
            records,
            user=user,
            key=key,
            fingerprint=fingerprint,
            make=make,
            render=lambda row: resource.render(row, reader=user),
        )
    return answer_made(request, resource, made)


@contextmanager
def key_problems(noun: str) -> Iterator[None]:
    """Answer the errors of idempotency keys by their problems."""
    try:
        yield
    except KeyInFlight as error:
        raise Problem(KEY_IN_FLIGHT, headers={"Retry-After": "1"}) from error
    except KeyReused as error:
        detail = f"This key was already used for a different {noun}."
        raise Problem(KEY_REUSED, detail) from error


def answer_made(request: Request, resource: SagaResource, made: Made) -> HttpResponse:
    """Answer 201 with the stored bytes, or with the resource after the wait that the client
    prefers.
    """
    body, waited = _body_after_wait(request, resource, made)
    headers = {
        "Location": resource.path(made.resource),
        "Cache-Control": CACHED_PRIVATELY,
        **applied(waited),
    }
    if made.replayed:
        headers["Idempotency-Replayed"] = "true"
    response = HttpResponse(body, status=201, content_type="application/json", headers=headers)
    set_response_etag(response)
    return response


def _body_after_wait(
    request: Request, resource: SagaResource, made: Made
) -> tuple[str, int | None]:
    """Wait as the client prefers; return the answer and the seconds of the wait, if any.

    The resource is already made, so a database error after that must not look like a failure.
    """
    saga = UUID(str(made.resource))
    try:
        seconds = wait_as_preferred(request, resource, saga)
        if seconds is None:
            return made.body, None
        row = resource.rows_for(request.user).filter(pk=saga).first()
        if row is None:  # staff may make a resource that they may not read
            return made.body, seconds
        return resource.render(row, reader=request.user.pk), seconds
    except Error as error:
        logger.warning(
            "%s %s is placed; a database error ended the wait for its outcome: %r",
            resource.noun.capitalize(),
            saga,
            error,
        )
        return made.body, None
