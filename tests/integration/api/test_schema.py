"""The OpenAPI schema: complete, without warnings, and true to the answers."""

from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator

from api import openapi, schema_view
from api.openapi import as_yaml
from api.problems.problem_types import METHOD_NOT_ALLOWED, all_problem_types
from api.schema_view import rendered_schema
from orders.status import Status
from payments.models import Payment

CONTRACT = {
    "/api/v1/auth/token/": {"post"},
    "/api/v1/orders/": {"get", "post"},
    "/api/v1/orders/{id}/": {"get"},
    "/api/v1/orders/{id}/timeline/": {"get"},
    "/api/v1/orders/{id}/cancel/": {"post"},
    "/api/v1/products/": {"get", "post"},
    "/api/v1/products/{sku}/": {"get", "patch"},
    "/api/v1/stock/": {"get"},
    "/api/v1/stock/{sku}/": {"get"},
    "/api/v1/stock/{sku}/adjustments/": {"post"},
    "/api/v1/payments/": {"get"},
    "/api/v1/payments/{id}/": {"get"},
}


@pytest.fixture(scope="module")
def schema():
    GENERATOR_STATS.reset()
    return openapi.schema()


def test_the_schema_is_valid_openapi_3_1_and_nothing_had_to_be_guessed(schema):
    validate_schema(schema)
    assert schema["openapi"].startswith("3.1")
    assert not GENERATOR_STATS


def test_every_call_of_the_contract_is_there(schema):
    for path, methods in CONTRACT.items():
        assert methods <= set(schema["paths"][path]), path


OPERATIONS = {
    "add_product",
    "adjust_stock",
    "cancel_order",
    "change_product",
    "create_token",
    "get_order",
    "get_payment",
    "get_product",
    "get_stock",
    "list_adjustments",
    "list_order_events",
    "list_orders",
    "list_payments",
    "list_products",
    "list_stock",
    "place_order",
}


def operations(schema):
    return {one["operationId"]: one for path in schema["paths"].values() for one in path.values()}


def of(schema, answer):
    """Return a response, or the component that it refers to."""
    reference = answer.get("$ref", "")
    return schema["components"]["responses"][reference.rpartition("/")[2]] if reference else answer


def test_operations_keep_the_names_that_clients_are_generated_with(schema):
    assert set(operations(schema)) >= OPERATIONS


def test_whatever_goes_wrong_is_a_problem_of_a_known_status(schema):
    for operation in operations(schema).values():
        assert {"400", "406", "429", "500", "503"} <= set(operation["responses"])
        assert "default" not in operation["responses"]
        for status, answer in operation["responses"].items():
            media_types = set(of(schema, answer).get("content", ()))
            if status >= "4":
                assert media_types == {"application/problem+json"}
            elif status in {"204", "304"}:
                assert not media_types
            else:
                assert (
                    {"application/json"} <= media_types <= {"application/json", "text/event-stream"}
                )


def test_problems_are_told_where_they_may_come_and_nowhere_else(schema):
    told = operations(schema)
    assert {"401", "404", "409"} <= set(told["cancel_order"]["responses"])
    assert {"401", "409", "413", "415", "422"} <= set(told["place_order"]["responses"])
    assert "403" in told["get_stock"]["responses"]
    assert not {"403", "404", "413", "415", "422"} & set(told["list_orders"]["responses"])


def test_every_kind_of_problem_has_its_example(schema):
    shown = {
        example["value"]["type"]
        for answer in schema["components"]["responses"].values()
        for example in answer["content"]["application/problem+json"]["examples"].values()
    }
    # No operation shows it, because it is about methods without an operation.
    assert shown == {kind.type for kind in all_problem_types()} - {METHOD_NOT_ALLOWED.type}


def test_every_operation_is_explained_with_examples(schema):
    for name, operation in operations(schema).items():
        assert operation["summary"], name
        assert operation["description"], name
        for body in bodies(schema, operation):
            assert body["examples"], name


def bodies(schema, operation):
    """Yield the media type objects of the request and of each answer."""
    yield from operation.get("requestBody", {}).get("content", {}).values()
    for answer in operation["responses"].values():
        yield from of(schema, answer).get("content", {}).values()


def test_every_example_is_as_its_schema_says(schema):
    for operation in operations(schema).values():
        for body in bodies(schema, operation):
            validator = Draft202012Validator({**body["schema"], "components": schema["components"]})
            for example in body["examples"].values():
                validator.validate(example["value"])


def test_every_tag_and_every_enum_is_explained(schema):
    described = {tag["name"]: tag["description"] for tag in schema["tags"]}
    assert {tag for operation in operations(schema).values() for tag in operation["tags"]} == set(
        described
    )
    for name, choices in {"OrderStatus": Status, "PaymentStatus": Payment.Status}.items():
        statuses = schema["components"]["schemas"][name]
        assert statuses["enum"] == choices.values
        for status in choices.values:
            assert f"`{status}` - " in statuses["description"]


def test_headers_are_described(schema):
    placed = operations(schema)["place_order"]["responses"]
    assert set(placed["201"]["headers"]) == {
        "Location",
        "Idempotency-Replayed",
        "ETag",
        "Preference-Applied",
    }
    # Only one of the two problems with this status has the header.
    assert of(schema, placed["409"])["headers"]["Retry-After"]["required"] is False
    assert of(schema, placed["429"])["headers"]["Retry-After"]["required"] is True
    assert set(of(schema, placed["401"])["headers"]) == {"WWW-Authenticate"}


def test_the_document_is_what_make_schema_writes():
    document = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"
    assert document.read_text() == as_yaml(), "docs/openapi.yaml has drifted: run `make schema`."


def test_the_body_of_an_order_is_described_with_its_bounds(schema):
    order, line = (schema["components"]["schemas"][name] for name in ("NewOrder", "LineWanted"))
    assert order["additionalProperties"] is False
    assert (order["properties"]["lines"]["minItems"], order["properties"]["lines"]["maxItems"]) == (
        1,
        100,
    )
    assert line["properties"]["quantity"] == {"type": "integer", "minimum": 1, "maximum": 10_000}


def test_placing_an_order_takes_its_headers_and_no_filter(schema):
    parameters = {
        parameter["name"] for parameter in schema["paths"]["/api/v1/orders/"]["post"]["parameters"]
    }
    assert parameters == {"Idempotency-Key", "Prefer"}
    filters = {
        parameter["name"] for parameter in schema["paths"]["/api/v1/orders/"]["get"]["parameters"]
    }
    assert filters == {
        "status",
        "needs_attention",
        "created_after",
        "created_before",
        "ordering",
        "limit",
        "cursor",
    }


def test_calls_need_a_bearer_token(schema):
    (scheme,) = schema["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert schema["paths"]["/api/v1/orders/"]["get"]["security"] == [{"bearerToken": []}]


def test_the_schema_is_served(http, db):
    answer = http.get("/api/v1/schema/", headers={"Accept": "application/vnd.oai.openapi+json"})
    assert answer.json()["info"]["title"] == "Order saga service"


def test_a_process_makes_the_schema_once_for_all_formats(http, db, monkeypatch):
    """Making it takes long, and anybody may ask for it."""
    made = []
    original = SchemaGenerator.get_schema

    def get_schema(self, *args, **kwargs):
        made.append(1)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(SchemaGenerator, "get_schema", get_schema)
    rendered_schema.cache_clear()
    schema_view._schema.cache_clear()
    for _ in range(2):
        for kind in ("", "+json"):
            accepted = f"application/vnd.oai.openapi{kind}"
            answer = http.get("/api/v1/schema/", headers={"Accept": accepted})
            assert answer.status_code == 200
            assert answer.headers["Content-Type"].partition(";")[0] == accepted
            assert answer.headers["Content-Disposition"].startswith("inline")
    assert len(made) == 1


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text inside of each."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), ""))

    def handle_data(self, data):
        if self.found:
            tag, attrs, text = self.found[-1]
            self.found[-1] = (tag, attrs, text + data.strip())


@pytest.mark.parametrize("path", ["/api/v1/docs/", "/errors/", "/errors/not-found"])
def test_pages_have_nothing_inline_and_nothing_from_elsewhere(http, db, path):
    elements = Elements(http.get(path).content.decode()).found
    assert not [tag for tag, _, text in elements if tag == "style" or (tag == "script" and text)]
    assert not [
        name
        for _, attrs, _ in elements
        for name in attrs
        if name == "style" or name.startswith("on")
    ]
    for _, attrs, _ in elements:
        for name in {"src", "href"} & set(attrs):
            assert attrs[name].startswith("/")
            assert not attrs[name].startswith("//")
            with closing(http.get(attrs[name])) as linked:
                assert linked.status_code == 200


def test_the_project_passes_its_own_checks(settings):
    settings.ALLOWED_HOSTS = ["localhost"]  # as `make run` has them; Django's tests add a host
    call_command("check", fail_level="WARNING")


def test_the_timeline_is_described_as_a_list_and_as_a_stream(schema):
    get = schema["paths"]["/api/v1/orders/{id}/timeline/"]["get"]
    assert set(get["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    page = get["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[
        2
    ]
    assert set(schema["components"]["schemas"][page]["properties"]) == {
        "results",
        "next",
        "previous",
    }
    assert {"204", "503"} < set(get["responses"])
    assert "Last-Event-ID" in {parameter["name"] for parameter in get["parameters"]}


def test_an_order_is_described_with_what_makes_it_conditional(schema):
    get = schema["paths"]["/api/v1/orders/{id}/"]["get"]
    assert {"Prefer", "If-None-Match"} <= {parameter["name"] for parameter in get["parameters"]}
    assert {"ETag", "Preference-Applied"} <= set(get["responses"]["200"]["headers"])
    assert "304" in get["responses"]
