"""Reading of Stripe's objects."""

from typing import Any

from stripe import Charge, PaymentIntent, Refund

__all__ = ["id_of", "metadata_of"]


def id_of(reference: Any) -> str:
    """Return the id of an object, which Stripe sends either as the id or as the whole object."""
    return str(getattr(reference, "id", reference))


def metadata_of(source: PaymentIntent | Charge | Refund, name: str) -> str:
    """Return our metadata of a name; empty if there is none."""
    return str(source.metadata[name]) if source.metadata and name in source.metadata else ""
