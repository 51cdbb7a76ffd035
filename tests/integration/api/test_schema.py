"""The OpenAPI schema: of all paths, without a warning, and true to what is answered."""

import pytest
from django.core.management import call_command
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

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
    return SchemaGenerator().get_schema(request=None, public=True)


def test_the_schema_is_valid_openapi_3_1_and_nothing_had_to_be_guessed(schema):
    validate_schema(schema)
    assert schema["openapi"].startswith("3.1")
    assert not GENERATOR_STATS


def test_every_call_of_the_contract_is_there(schema):
    for path, methods in CONTRACT.items():
        assert methods <= set(schema["paths"][path]), path


def test_what_goes_wrong_is_a_problem_everywhere(schema):
    for path in schema["paths"].values():
        for operation in path.values():
            assert set(operation["responses"]["default"]["content"]) == {"application/problem+json"}


def test_the_body_of_an_order_is_described_with_its_bounds(schema):
    body = schema["paths"]["/api/v1/orders/"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    line = body["properties"]["lines"]["items"]
    assert body["additionalProperties"] is False
    assert (body["properties"]["lines"]["minItems"], body["properties"]["lines"]["maxItems"]) == (1, 100)
    assert line["properties"]["quantity"] == {"type": "integer", "minimum": 1, "maximum": 10_000}


def test_placing_an_order_takes_its_headers_and_no_filter(schema):
    parameters = {parameter["name"] for parameter in schema["paths"]["/api/v1/orders/"]["post"]["parameters"]}
    assert parameters == {"Idempotency-Key", "Prefer"}
    filters = {parameter["name"] for parameter in schema["paths"]["/api/v1/orders/"]["get"]["parameters"]}
    assert filters == {"status", "needs_attention", "created_after", "created_before", "ordering", "limit", "cursor"}


def test_calls_need_a_bearer_token(schema):
    assert schema["components"]["securitySchemes"] == {"bearerToken": {"type": "http", "scheme": "bearer"}}
    assert schema["paths"]["/api/v1/orders/"]["get"]["security"] == [{"bearerToken": []}]


def test_the_schema_and_its_page_are_served_from_here(http, db):
    answer = http.get("/api/v1/schema/", headers={"Accept": "application/vnd.oai.openapi+json"})
    assert answer.json()["info"]["title"] == "Order saga service"
    page = http.get("/api/v1/docs/").content.decode()
    assert "https://" not in page
    assert "swagger-ui" in page


def test_the_project_passes_its_own_checks():
    call_command("check", fail_level="WARNING")


def test_the_timeline_is_described_as_a_list_and_as_a_stream(schema):
    get = schema["paths"]["/api/v1/orders/{id}/timeline/"]["get"]
    assert set(get["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    page = get["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert set(schema["components"]["schemas"][page]["properties"]) == {"results", "next", "previous"}
    assert {"204", "503"} < set(get["responses"])
    assert "Last-Event-ID" in {parameter["name"] for parameter in get["parameters"]}


def test_an_order_is_described_with_what_makes_it_conditional(schema):
    get = schema["paths"]["/api/v1/orders/{id}/"]["get"]
    assert {"Prefer", "If-None-Match"} <= {parameter["name"] for parameter in get["parameters"]}
    assert {"ETag", "Preference-Applied"} <= set(get["responses"]["200"]["headers"])
    assert "304" in get["responses"]
