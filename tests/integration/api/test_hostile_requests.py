"""A real server answers hostile requests with problems: no 500, and nothing is written.

The requests are written byte by byte, as no client library would send them.
"""

import json
import socket
from http.client import HTTPResponse
from typing import Any
from urllib.parse import quote

import pytest
from django.core.management import call_command

from api.auth.tokens import issue_token
from api.requests.parsing import MAX_BODY
from orders.models import IdempotencyKey, Order, Product
from sagas.ids import uuid7
from sagas.strict_json import MAX_DEPTH
from tests.integration.orders import harness
from tests.outside.customer import api

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

ORDERS = "/api/v1/orders/"
BODY = json.dumps(harness.body_for()).encode()
LIMIT = 30  # seconds


class Server:
    """The API's own process, spoken to over a socket."""

    def __init__(self, address):
        host, _, port = address.removeprefix("http://").partition(":")
        self.place = (host, int(port))
        self.token = ""

    def send(self, *parts, hang_up=False):
        """Send raw bytes; return status, headers and body of the first answer."""
        with socket.create_connection(self.place, timeout=LIMIT) as line:
            line.sendall(b"".join(parts))
            if hang_up:
                line.shutdown(socket.SHUT_WR)
            return _answer(line)

    def ask(
        self, method=b"GET", path=ORDERS, *, body=b"", headers=(), length=True, key=b"k", **options
    ):
        """Send a request of Ada's with headers of the test's choice."""
        lines = [
            method + b" " + (path.encode() if isinstance(path, str) else path) + b" HTTP/1.1",
            b"Host: 127.0.0.1",
            b"Connection: close",
            b"Authorization: Bearer " + self.token.encode(),
            *headers,
        ]
        if key is not None:
            lines.append(b"Idempotency-Key: " + key)
        if length:
            lines.append(b"Content-Length: %d" % len(body))
        if not any(line.lower().startswith(b"content-type") for line in headers):
            lines.append(b"Content-Type: application/json")
        return self.send(b"\r\n".join(lines), b"\r\n\r\n", body, **options)


def _answer(line):
    reply = HTTPResponse(line)
    reply.begin()
    return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()


@pytest.fixture(scope="module")
def process(django_db_setup):
    production = {
        "DEBUG": "off",
        "HTTPS": "off",
        "SECRET_KEY": "abcde" * 10,
        "ALLOWED_HOSTS": "127.0.0.1",
    }
    with api(**production) as address:
        yield Server(address)


@pytest.fixture
def server(process):
    """The server, Ada's token for it, and a mug to be ordered."""
    process.token = issue_token(harness.user("ada"))
    harness.stocked()
    return process


def refused(answer, *statuses):
    """Tell whether an answer is a problem of one of these statuses, and nothing was written."""
    status, headers, body = answer
    if status not in statuses or headers["content-type"] != "application/problem+json":
        return False
    return (
        json.loads(body)["status"] == status
        and not Order.objects.exists()
        and not IdempotencyKey.objects.exists()
    )


def not_refused(asked):
    """Return the unexpected answers by name. `asked`: name, answer and statuses."""
    return {name: answer for name, answer, statuses in asked if not refused(answer, *statuses)}


def body(quantity="1", *, method='"pm"', more=""):
    lines = f'[{{"sku":"MUG","quantity":{quantity}}}]'
    return f'{{"lines":{lines},"payment_method":{method}{more}}}'.encode()


BODIES = {
    "nothing": b"",
    "no json": b"{",
    "true": body("true"),
    "text": body('"3"'),
    "float": body("3.0"),
    "exponent": body("1e3"),
    "beyond a float": body("1e400"),
    "zero": body("0"),
    "negative": body("-1"),
    "too many": body("10001"),
    "beyond 64 bits": body(str(2**64)),
    "a hundred thousand digits": body("9" * 100_000),
    "a hundred thousand decimals": body("0." + "9" * 100_000),
    "nan": body("NaN"),
    "infinity": body("-Infinity"),
    "unknown field": body(more=',"user":1'),
    "a price": body('1,"unit_amount":1'),
    "a status": body(more=',"status":"fulfilled"'),
    "an amount": body(more=',"amount":1'),
    "duplicate key": body(more=',"payment_method":"pm"'),
    "nul": body(method=r'"a\u0000"'),
    "raw nul": body(method='"a\0"'),
    "lone surrogate": body(method=r'"\ud800"'),
    "lone low surrogate as a key": body(more=r',"\udc00":1'),
    "broken utf-8": b'{"lines":"\xc3\x28"}',
    "latin-1": body(method='"\u00e4"').decode().encode("latin-1"),
    "utf-16": BODY.decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + BODY,
    "one too deep": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "abyss": b"[" * 200_000,
    "abyss of objects": b'{"a":' * 40_000,
    "quotes without end": b'"' + b'\\"' * 100_000 + b"[" * 40,
    "brackets in strings": json.dumps({"lines": "[" * 1_000}).encode(),
    "same product twice": json.dumps(harness.body_for(("MUG", 1), ("MUG", 1))).encode(),
    "101 lines": json.dumps(harness.body_for(*[(f"S{n}", 1) for n in range(101)])).encode(),
    "a list": b"[]",
    "a card": body(method='"4242 4242 4242 4242"'),
}


def test_a_body_that_is_no_order_is_400(server):
    asked = ((name, server.ask(b"POST", body=given), (400,)) for name, given in BODIES.items())
    assert not_refused(asked) == {}


def test_an_order_that_comes_to_more_than_any_reader_keeps_is_400(server):
    Product.objects.update(unit_amount=2**53 - 1)
    assert refused(server.ask(b"POST", body=body("2")), 400)
    assert server.ask(b"POST", body=body("1"))[0] == 201


HEADERS: dict[str, tuple[dict[str, Any], int]] = {
    "key with a space": ({"key": b"a b"}, 400),
    "empty key": ({"key": b""}, 400),
    "no key": ({"key": None}, 400),
    "key beyond ascii": ({"key": b"\xc3\xa4"}, 400),
    "key of 256": ({"key": b"k" * 256}, 400),
    "no media type": ({"headers": [b"Content-Type: "]}, 415),
    "form": ({"headers": [b"Content-Type: application/x-www-form-urlencoded"]}, 415),
    "multipart": ({"headers": [b"Content-Type: multipart/form-data; boundary=x"]}, 415),
    "text": ({"headers": [b"Content-Type: text/plain"]}, 415),
    "nonsense media type": ({"headers": [b"Content-Type: ;;;/\xff"]}, 415),
    "another charset": ({"headers": [b"Content-Type: application/json; charset=latin-1"]}, 415),
    "charset that is no text": (
        {"headers": [b"Content-Type: application/json; charset=rot13"]},
        415,
    ),
    "unknown charset": ({"headers": [b"Content-Type: application/json; charset=\xff"]}, 415),
    "charset twice": (
        {"headers": [b"Content-Type: application/json; charset=utf-8; charset=utf-16"]},
        415,
    ),
    "another answer wanted": ({"headers": [b"Accept: text/html"]}, 406),
    "nonsense wanted": ({"headers": [b"Accept: \xff;;;,/"]}, 406),
    "chunked": (
        {
            "headers": [b"Transfer-Encoding: chunked"],
            "length": False,
            "body": b"3\r\n{}\n\r\n0\r\n\r\n",
        },
        411,
    ),
}


def test_headers_that_are_not_understood_are_refused(server):
    asked = (
        (name, server.ask(b"POST", **{"body": BODY, **options}), (status,))
        for name, (options, status) in HEADERS.items()
    )
    assert not_refused(asked) == {}


@pytest.mark.parametrize(
    "content_type", [b"application/json; charset=utf-8", b'application/json; charset="UTF-8"']
)
def test_json_in_utf_8_is_taken(server, content_type):
    assert server.ask(b"POST", body=BODY, headers=[b"Content-Type: " + content_type])[0] == 201


def test_another_method_in_a_header_changes_nothing(server):
    for header in (
        b"X-HTTP-Method-Override: DELETE",
        b"X-HTTP-Method: PATCH",
        b"X-Method-Override: PUT",
    ):
        assert server.ask(headers=[header])[0] == 200


def test_a_body_too_large_is_413(server):
    assert refused(server.ask(b"POST", body=b" " * MAX_BODY + BODY), 413)


def test_a_body_shorter_than_it_claims_is_400(server):
    assert refused(
        server.ask(
            b"POST", body=BODY[:-1], headers=[b"Content-Length: 500"], length=False, hang_up=True
        ),
        400,
    )


def test_a_body_longer_than_it_claims_is_400(server):
    assert refused(
        server.ask(b"POST", body=BODY, headers=[b"Content-Length: 10"], length=False), 400
    )


def test_a_length_that_is_none_is_refused_by_the_server_or_by_us(server):
    for length in (b"-1", b"x", b"1e3", b"9" * 30, b""):
        headers = [b"Content-Length: " + length]
        status, *_ = server.ask(b"POST", body=BODY, headers=headers, length=False, hang_up=True)
        assert 400 <= status < 500, length
    assert not Order.objects.exists()


def test_two_lengths_and_a_length_with_chunks_are_refused(server):
    for headers in (
        [b"Content-Length: 3", b"Content-Length: 4"],
        [b"Content-Length: 3", b"Transfer-Encoding: chunked"],
    ):
        status, *_ = server.ask(
            b"POST", body=b"3\r\n{}\n\r\n0\r\n\r\n", headers=headers, length=False
        )
        assert 400 <= status < 500
    assert not Order.objects.exists()


QUERIES = [
    b"status=%00",
    b"%00=1",
    b"status=%ff",
    b"%c3%28=1",
    b"status=lost",
    b"created_after=yesterday",
    b"created_after=99999-01-01T00:00:00Z",
    b"created_before=0000-00-00",
    b"limit=x",
    b"limit=0",
    b"limit=-1",
    b"limit=%d9%a3",  # a digit, but not of ours
    b"cursor=x",
    b"cursor=cD1ub25zZW5zZQ==",
    b"cursor=" + b"A" * 3_000,
]


def test_queries_that_make_no_sense_are_refused(server):
    asked = ((query, server.ask(path=ORDERS.encode() + b"?" + query), (400,)) for query in QUERIES)
    assert not_refused(asked) == {}


def test_what_is_no_http_is_refused_by_the_server_itself(server):
    for line in (b"?cursor=" + b"A" * 100_000, b"?status=\xff", b"\xff/"):
        assert 400 <= server.ask(path=ORDERS.encode() + line)[0] < 500, line[:20]
    assert 400 <= server.ask(b"get")[0] < 500  # methods have a case


PATHS = [
    b"/api/v1/orders/%00/",
    b"/api/v1/orders/%ff/",
    b"/api/v1/orders/1/",
    b"/api/v1/orders/" + b"A" * 3_000 + b"/",
    f"/api/v1/orders/{uuid7()}/".encode(),
    f"/api/v1/orders/{uuid7()}/timeline/".encode(),
    b"/api/v1/orders/..%2f..%2fadmin/",
    b"/api/v1/products/%00/",
    b"/api/v1/products/%ff/",
    b"/api/v1/products/%0a/",
    b"/api/v1/products/MUG%0a/",
    b"/api/v1/products/" + b"A" * 65 + b"/",
    b"/api/v1/products/" + quote("\u00e4").encode() + b"/",
    b"/api/%00",
    b"/api/v1//orders/",
    b"/api/v1/orders",
]


def test_paths_that_lead_nowhere_are_404(server):
    asked = (
        (path, server.ask(method, path, body=given), (404, 405))
        for path in PATHS
        for method, given in ((b"GET", b""), (b"POST", BODY))
    )
    assert not_refused(asked) == {}


def test_methods_that_are_not_there_are_405(server):
    for method in (b"PUT", b"DELETE", b"TRACE", b"PATCH", b"PROPFIND"):
        answer = server.ask(method)
        assert refused(answer, 405), method
        assert answer[1]["allow"] == "GET, POST, HEAD, OPTIONS"


def test_head_is_get_without_a_body_and_options_are_told(server):
    placed = server.ask(b"POST", body=BODY)[1]["location"]
    for path in (ORDERS, placed, placed + "timeline/", "/api/v1/products/"):
        status, headers, _ = server.ask(b"GET", path)
        with socket.create_connection(server.place, timeout=LIMIT) as line:
            line.sendall(
                b"HEAD %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                b"Authorization: Bearer %s\r\n\r\n" % (path.encode(), server.token.encode())
            )
            head = line.makefile("rb").read()
        assert head.startswith(b"HTTP/1.1 %d" % status)
        assert head.endswith(b"\r\n\r\n")
        assert server.ask(b"OPTIONS", path)[0] == 200
        assert headers["content-type"] == "application/json"


def test_a_host_that_is_not_ours_is_a_problem(server):
    lines = [b"GET /api/v1/orders/ HTTP/1.1", b"Host: evil.example", b"Connection: close"]
    assert refused(server.send(b"\r\n".join(lines), b"\r\n\r\n"), 400)


def test_the_answer_to_a_key_comes_again_byte_for_byte(server):
    first, again = (server.ask(b"POST", body=BODY) for _ in range(2))
    assert first[0] == again[0] == 201
    assert first[2] == again[2]
    changing = {"date", "idempotency-replayed", "x-request-id"}
    kept = [
        {name: value for name, value in headers.items() if name not in changing}
        for _, headers, _ in (first, again)
    ]
    assert kept[0] == kept[1]
    assert {"location", "content-type", "content-length"} <= set(kept[0])
    assert again[1]["idempotency-replayed"] == "true"
    assert server.ask(b"POST", body=body("2"))[0] == 422
    assert Order.objects.count() == 1


LOGINS = [
    b'{"username":"a\\u0000","password":"x"}',
    b'{"username":"\\ud800","password":"x"}',
    b'{"username":"' + b"a" * 151 + b'","password":"x"}',
    b'{"username":["ada"],"password":"x"}',
    b'{"username":{"$ne":""},"password":"x"}',
]


def test_a_name_that_is_none_is_400(server):
    asked = (
        (login, server.ask(b"POST", "/api/v1/auth/token/", body=login), (400,)) for login in LOGINS
    )
    assert not_refused(asked) == {}


def test_a_login_with_anything_in_its_headers_and_query_is_no_error_of_ours(server):
    strange = [b"User-Agent: \xff\xfe" + b"x" * 300, b"Accept: */*," + b"x" * 2_000]
    login = b'{"username":"ada","password":"wrong"}'
    assert refused(
        server.ask(b"POST", "/api/v1/auth/token/?%C3%A4=%27--", body=login, headers=strange), 401
    )


def test_outside_of_the_api_nothing_is_an_error_of_ours_either(server):
    for path in (
        "/admin/login/?next=%00",
        "/admin/?%ff",
        "/healthz?%00",
        "/static/%00",
        "/static/..%2f..%2fx",
        "/%00",
    ):
        assert 400 <= server.ask(path=path)[0] < 500, path


def test_nothing_of_all_this_has_hurt(server):
    assert server.ask(b"POST", body=BODY)[0] == 201
    call_command("audit")
