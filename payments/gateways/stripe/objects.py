"""Reading of Stripe's objects."""

from datetime import UTC, datetime
from typing import Any

import stripe
from stripe import Charge, PaymentIntent, Refund

__all__ = ["id_of", "is_replayed", "metadata_of", "time_of"]


def id_of(reference: Any) -> str:
    """Return the id of an object, which Stripe sends either as the id or as the whole object."""
    return str(getattr(reference, "id", reference))


def metadata_of(source: PaymentIntent | Charge | Refund, name: str) -> str:
    """Return our metadata of a name; empty if there is none."""
    return str(source.metadata[name]) if source.metadata and name in source.metadata else ""


def is_replayed(answer: stripe.StripeObject) -> bool:
    """Tell whether Stripe repeated the saved answer of a key, which may be out of date."""
    return (
        answer.last_response is not None
        and answer.last_response.headers.get("Idempotent-Replayed") == "true"
    )


def time_of(seconds: int) -> datetime:
    """Return the time of a number of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)
