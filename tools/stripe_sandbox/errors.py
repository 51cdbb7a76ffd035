"""What the API refuses, in the shape and with the codes that Stripe documents for it."""

from typing import Any

__all__ = [
    "ApiError",
    "CardError",
    "Lost",
    "missing",
    "no_such",
    "server_error",
    "unexpected_state",
]

DOCUMENTATION = "https://docs.stripe.com/error-codes#"


class ApiError(Exception):
    """A refusal. `executed` says whether it came of doing the work: only then is it kept for the
    idempotency key.
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
        """Describe a refusal; `more` are further fields of the error object."""
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
        """Return the response's body. Stripe leaves out what is null here, and here alone."""
        error = {name: value for name, value in self.fields.items() if value is not None}
        if "code" in error:
            error["doc_url"] = DOCUMENTATION + str(error["code"]).replace("_", "-")
        return {"error": error}


class CardError(ApiError):
    """The card was declined. `details` are the error object's fields, the intent included."""

    def __init__(self, message: str, **details: Any) -> None:
        """Describe a decline, which is an answer as good as any, and kept as one."""
        super().__init__(message, status=402, type="card_error", executed=True, **details)


class Lost(Exception):
    """The request is to be taken for one that never arrived: nothing is done, nothing is
    answered.
    """


def missing(param: str) -> ApiError:
    """A required parameter is not there."""
    return ApiError(f"Missing required param: {param}.", code="parameter_missing", param=param)


def no_such(noun: str, id: str, *, param: str, status: int = 404) -> ApiError:
    """What the request names does not exist: 404 in a path, 400 in a parameter."""
    return ApiError(
        f"No such {noun}: '{id}'",
        status=status,
        code="resource_missing",
        param=param,
        executed=True,
    )


def unexpected_state(message: str, intent: dict[str, Any]) -> ApiError:
    """The intent's status does not allow this; the error carries the intent."""
    return ApiError(
        message, code="payment_intent_unexpected_state", executed=True, payment_intent=intent
    )


def server_error(
    message: str = "Something went wrong inside the sandbox, as it was told to.",
) -> ApiError:
    """A 500."""
    return ApiError(message, status=500, type="api_error", executed=True)
