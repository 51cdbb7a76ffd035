"""The balance of the account. The sandbox keeps none: it only tells the mode of the account."""

from typing import Any

from tools.stripe_sandbox.call import Call

__all__ = ["retrieve"]


def retrieve(call: Call) -> dict[str, Any]:
    """Return the balance of an account in test mode, without any money."""
    call.form.allow_only()
    return {"object": "balance", "available": [], "pending": [], "livemode": False}
