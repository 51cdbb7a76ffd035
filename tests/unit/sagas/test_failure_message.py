"""A failure keeps its field names on the wire, because releases read each other's messages."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from sagas.definition.messages import Message
from sagas.execution.error_blame import Blame
from sagas.execution.failures import Failure

SAGA = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
MESSAGE = Message(
    id=SAGA, saga=SAGA, started_at=datetime(2026, 1, 2, tzinfo=UTC), seq=1, context={}
)


def test_a_failure_is_sent_under_the_names_of_earlier_releases():
    failure = Failure(message=MESSAGE, attempt=2, error="boom", isolated=True, resend=False)

    sent = msgspec.to_builtins(failure)

    assert {**sent, "message": None} == {
        "message": None,
        "attempt": 2,
        "error": "boom",
        "alone": True,
        "again": False,
        "claim": None,
        "lost": False,
        "blame": "order",
        "beside_success": False,
        "destination": "",
    }


def test_a_failure_of_an_earlier_release_is_understood():
    sent = {
        "message": msgspec.to_builtins(MESSAGE),
        "attempt": 1,
        "error": "boom",
        "alone": False,
    }

    failure = msgspec.convert(sent, Failure, strict=False)

    assert (failure.isolated, failure.resend) == (False, True)
    assert (failure.claim, failure.lost) == (None, False)
    assert (failure.blame, failure.beside_success) == (Blame.SAGA, False)


def test_the_blame_of_a_later_release_is_read_as_the_orders():
    sent = {**msgspec.to_builtins(Failure(message=MESSAGE, attempt=1, error="", isolated=True))}

    assert msgspec.convert({**sent, "blame": "moon"}, Failure, strict=False).blame is Blame.SAGA
