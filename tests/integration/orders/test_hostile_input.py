"""Invalid input is answered with a problem: never a 500, and never an order."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.requests.parsing import MAX_BODY
from orders.models import Order
from tests.integration.orders import harness

LINE = '{"sku":"MUG","quantity":%s}'


def body(quantity: str = "1", *, method: str = '"pm"', more: str = "") -> str:
    """Return the JSON of an order with arbitrary parts."""
    return f'{{"lines":[{LINE % quantity}],"payment_method":{method}{more}}}'


@pytest.mark.parametrize(
    "quantity",
    [
        "true",
        '"3"',
        "3.0",
        "1e3",
        "0",
        "-1",
        "10001",
        "null",
        "[]",
        "{}",
        "9" * 30,
        "1e999",
        "9" * 5000,
    ],
)
def test_a_quantity_that_is_no_integer_in_bounds_is_refused(ada, mug, quantity):
    answer = harness.place(ada, body(quantity))
    assert answer.status_code == 400
    assert set(harness.fields(answer)) <= {"lines[0].quantity", ""}


@pytest.mark.parametrize(
    ("text", "field", "code"),
    [
        ("{}", "lines", "required"),
        ('{"lines":[],"payment_method":"pm"}', "lines", "invalid"),
        ('{"lines":{},"payment_method":"pm"}', "lines", "invalid"),
        ('{"lines":[{}],"payment_method":"pm"}', "lines[0].sku", "required"),
        ('{"lines":[{"sku":"MUG"}],"payment_method":"pm"}', "lines[0].quantity", "required"),
        ('{"lines":[null],"payment_method":"pm"}', "lines[0]", "invalid"),
        (body(more=',"amount":1'), "amount", "unknown"),
        (body('1,"unit_amount":1'), "lines[0].unit_amount", "unknown"),
        (body(method='""'), "payment_method", "invalid"),
        (body(method="null"), "payment_method", "invalid"),
        (body(method=f'"{"x" * 101}"'), "payment_method", "invalid"),
        ("[]", "", "invalid"),
        ("null", "", "invalid"),
        ('"order"', "", "invalid"),
        (json.dumps(harness.body_for(*[(f"S{n}", 1) for n in range(101)])), "lines", "invalid"),
    ],
)
def test_the_field_at_fault_is_named(ada, mug, text, field, code):
    answer = harness.place(ada, text)
    assert answer.status_code == 400
    assert harness.fields(answer) == {field: code}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"lines":NaN}',
        b'{"lines":-Infinity}',
        b"[" * 100_000,
        b'{"a":' * 40_000,
        body(more=',"payment_method":"pm"').encode(),
        body(method=r'"a\u0000b"').encode(),
        body(method=r'"\ud800"').encode(),
        body(more=r',"\udfff":1').encode(),
        body(method='"ä"').encode("latin-1"),
        body(method='"a\0b"').encode(),
    ],
    ids=lambda raw: repr(raw[-24:]),
)
def test_json_that_could_mean_several_things_or_none_is_refused(ada, mug, raw):
    answer = harness.place(ada, raw)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert not Order.objects.exists()


def test_a_body_that_is_too_large_is_refused(ada, mug):
    assert harness.place(ada, body(method=f'"{"x" * MAX_BODY}"')).status_code == 413
    assert harness.place(ada, b" " * (MAX_BODY - len(body())) + body().encode()).status_code == 201


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""]
)
def test_another_media_type_is_refused(ada, mug, content_type):
    headers = {"Idempotency-Key": "k"}
    answer = ada.generic("POST", harness.ORDERS, body(), content_type=content_type, headers=headers)
    assert answer.status_code == 415
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_json_with_a_charset_is_json(ada, mug):
    headers = {"Idempotency-Key": "k"}
    answer = ada.generic(
        "POST",
        harness.ORDERS,
        body(),
        content_type="application/json; charset=utf-8",
        headers=headers,
    )
    assert answer.status_code == 201


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["lines", "sku", "quantity", "x"]), inner)
    ),
    max_leaves=12,
)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(lines=anything, payment_method=anything)
def test_no_json_whatever_is_an_error_of_ours(ada, lines, payment_method):
    answer = harness.place(ada, json.dumps({"lines": lines, "payment_method": payment_method}))
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
