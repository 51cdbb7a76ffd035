"""Errors of the API, in the format and with the codes that Stripe documents."""

from typing import Any

__all__ = [
    "ApiError",
    "CardError",
    "RequestLost",
    "balance_insufficient",
    "missing",
    "not_found",
    "refused_by_fault",
    "server_error",
    "unexpected_state",
]

DOCUMENTATION = "https://docs.stripe.com/error-codes#"


class ApiError(Exception):
    """An error response.

    `executed` tells whether the call was executed. Only then the error is kept for the idempotency
    key.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        executed: bool = False,
        **more: Any,
    ) -> None:
        """Describe an error; `more` are further fields of the error object."""
        super().__init__(message)
        self.status = status
        self.executed = executed
        self.fields: dict[str, Any] = {
            "type": type,
            "code": code,
            "message": message,
            "param": param,
            **more,
        }

    def body(self) -> dict[str, Any]:
        """Return the response's body. Stripe omits null fields only in errors."""
        error = {name: value for name, value in self.fields.items() if value is not None}
        if "code" in error:
            error["doc_url"] = DOCUMENTATION + str(error["code"]).replace("_", "-")
        return {"error": error}


class CardError(ApiError):
    """The card was declined. `details` are the error object's fields, the intent included."""

    def __init__(self, message: str, **details: Any) -> None:
        """Describe a decline. A decline is kept for the idempotency key."""
        super().__init__(message, status=402, type="card_error", executed=True, **details)


class RequestLost(Exception):
    """The sandbox acts as if the request never arrived: it does nothing and does not answer."""


def missing(param: str) -> ApiError:
    """A required parameter is missing."""
    return ApiError(f"Missing required param: {param}.", code="parameter_missing", param=param)


def not_found(noun: str, id: str, *, param: str, status: int = 404) -> ApiError:
    """An object does not exist: 404 if the path names it, 400 if a parameter does."""
    return ApiError(
        f"No such {noun}: '{id}'",
        status=status,
        code="resource_missing",
        param=param,
        executed=True,
    )


def unexpected_state(message: str, intent: dict[str, Any]) -> ApiError:
    """The intent's status does not allow the call. The error contains the intent."""
    return ApiError(
        message, code="payment_intent_unexpected_state", executed=True, payment_intent=intent
    )


def server_error(
    message: str = "Something went wrong inside the sandbox (injected fault).",
) -> ApiError:
    """An internal error: 500."""
    return ApiError(message, status=500, type="api_error", executed=True)


def refused_by_fault() -> ApiError:
    """A refusal without a cause, kept for the key: 400."""
    return ApiError("The sandbox refuses this call (injected fault).", executed=True)


def balance_insufficient() -> ApiError:
    """The account's balance does not cover a refund: 400."""
    return ApiError(
        "Insufficient funds in your Stripe balance to refund this amount (injected fault).",
        code="balance_insufficient",
        executed=True,
    )
