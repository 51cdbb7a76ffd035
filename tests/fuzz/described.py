"""The API as docs/openapi.yaml describes it, and the checks of every answer.

Schemathesis generates the requests. Tests of `THOROUGH` try every keyword of the schema once. All
tests try `FUZZ_EXAMPLES` more requests for each operation and role. The default suits every change;
`make fuzz` uses more.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import schemathesis
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import CheckContext
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from api.requests.long_headers import shorten_content_type
from tests.fuzz import known_objects

__all__ = ["EXAMPLES", "SAMPLED", "SETTINGS", "THOROUGH", "assert_as_described", "assert_valid"]

# The API as `config.wsgi` serves it, without the look at servers that a process makes at its start.
application = shorten_content_type(get_wsgi_application())

DOCUMENT = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "4"))

# A NUL is no part of any text here; the schema does not say so in every place.
GENERATION = {
    "deterministic": True,
    "database": "none",
    "allow-x00": False,
    "max-examples": EXAMPLES,
}

SETTINGS = hypothesis_settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)

# Errors that no schema can express: unknown products, currencies and cursors; used keys;
# signatures; prices that the gateway cannot charge, or that have changed; an order that costs money
# without a payment method; and 3.0, which is an integer in JSON Schema but not in this API.
UNSAID_CODES = {
    "unknown_product",
    "unknown_currency",
    "duplicate",
    "mixed_currencies",
    "amount_too_large",
    "required_of_staff",
    "required_for_price",
    "not_ordered",
}
UNSAID_TYPES = {
    "/errors/idempotency-key-reused",
    "/errors/not-chargeable",
    "/errors/amount-changed",
    "/errors/not-returnable",
    "/errors/return-too-large",
}
OF_RETURNS = ("/api/v1/returns/", "/api/v1/sagas/")
KNOWN_NAMES = {"sku": known_objects.SKU, "step": known_objects.STEP}
UNSAID_FIELDS = {"cursor", "payment_method"}
UNSAID_DETAILS = {"Expected int, got float."}


def described(*, thoroughly: bool) -> Any:
    """Return the schema with the application that it describes."""
    phases = {"examples": {"enabled": True}, "coverage": {"enabled": thoroughly}}
    config = schemathesis.Config.from_dict({"seed": 1, "generation": GENERATION, "phases": phases})
    schema = schemathesis.openapi.from_path(DOCUMENT, config=config)
    schema.app = application
    schema.hook("map_case")(meet_what_is_there)
    return schema


def meet_what_is_there(
    context: schemathesis.HookContext, case: schemathesis.Case
) -> schemathesis.Case:
    """Replace most generated values with existing ids: else nearly all answers are 404."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    known = _known_id(case.path)
    for name, value in case.path_parameters.items():
        chosen = sum(str(value).encode()) % 4
        if chosen and name in KNOWN_NAMES:
            case.path_parameters[name] = KNOWN_NAMES[name]
        elif chosen:
            case.path_parameters[name] = str(known or [*known_objects.ORDERS.values()][chosen - 1])
    if case.path == "/api/v1/orders/" and case.method == "POST":
        body: Any = case.body
        body["lines"] = [{**body["lines"][0], "sku": known_objects.SKU}]
        _agree_to_the_price(body)
    elif case.path == "/api/v1/orders/{order_id}/returns/":
        body = case.body
        body["lines"] = [{**body["lines"][0], "sku": known_objects.SKU}]
    elif case.path.startswith("/api/v1/sagas/"):
        _receive_the_goods(case.body)
    return case


def _known_id(path: str) -> UUID | None:
    """Return the id of the row that a path needs; None for an order."""
    if "/payments/" in path:
        return known_objects.PAYMENT
    return known_objects.RETURN if path.startswith(OF_RETURNS) else None


def _receive_the_goods(body: Any) -> None:
    """Answer the wait of the known return. The schema cannot say which data a wait takes."""
    lines = [{"sku": known_objects.SKU, "restock": 1}]
    body.update(type="return.goods_received", data={"lines": lines})


def _agree_to_the_price(body: dict[str, Any]) -> None:
    """Expect the present amount in most orders. The others show the answer to a changed one."""
    if "expected_amount" in body and body["expected_amount"] % 4:
        body["expected_amount"] = body["lines"][0]["quantity"] * known_objects.PRICE
    if "expected_currency" in body and sum(body["expected_currency"].encode()) % 4:
        body["expected_currency"] = known_objects.CURRENCY


THOROUGH, SAMPLED = described(thoroughly=True), described(thoroughly=False)


def assert_as_described(case: schemathesis.Case, headers: dict[str, str]) -> None:
    """Send a request; check that the schema names its answer, and that it is not a server error."""
    assert_valid(case, case.call(headers=headers), headers)


def assert_valid(case: schemathesis.Case, response: Response, headers: dict[str, str]) -> None:
    """Check an answer."""
    case.validate_response(
        response,
        headers=headers,
        excluded_checks=[positive_data_acceptance, negative_data_rejection],
        additional_checks=[takes_what_fits, refuses_what_does_not],
    )


def takes_what_fits(
    context: CheckContext, response: Response, case: schemathesis.Case
) -> bool | None:
    """Check that a valid request is accepted, except for reasons that a schema cannot express."""
    return None if _unsaid(response) else positive_data_acceptance(context, response, case)


def refuses_what_does_not(
    context: CheckContext, response: Response, case: schemathesis.Case
) -> bool | None:
    """Check that an invalid request is rejected, unless its flaw was lost in transport.

    An unknown parameter without a value (None, an empty list) does not appear in the URL.
    """
    unknown = set(case.query) - {parameter.name for parameter in case.operation.query}
    sent = parse_qs(urlsplit(response.request.url or "").query, keep_blank_values=True)
    return (
        None
        if unknown and not unknown & set(sent)
        else negative_data_rejection(context, response, case)
    )


def _unsaid(response: Response) -> bool:
    if response.status_code in (409, 422):
        return bool(response.json()["type"] in UNSAID_TYPES)
    if response.status_code == 400 and response.json()["type"] == "/errors/not-a-stripe-event":
        return True
    errors = response.json().get("errors", []) if response.status_code == 400 else []
    return bool(errors) and all(
        error["code"] in UNSAID_CODES
        or error["field"] in UNSAID_FIELDS
        or error["detail"] in UNSAID_DETAILS
        for error in errors
    )
