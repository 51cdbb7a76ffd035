"""Every error below /api/ is answered with a problem (RFC 9457)."""

import pytest
from django.db import InterfaceError, InternalError, OperationalError, ProgrammingError
from django.test import Client
from psycopg import errors
from rest_framework import serializers
from rest_framework.exceptions import Throttled

from api.problems import handlers
from api.problems.exceptions import FieldError, InvalidInput
from api.problems.handlers import exception_handler
from api.resources.resource import SagaResource

PROBLEM = "application/problem+json"


def said(answer):
    assert answer.headers["Content-Type"] == PROBLEM
    body = answer.json()
    assert body["status"] == answer.status_code
    assert {"type", "title", "status", "detail"} <= set(body)
    return body


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    "path", ["/api/", "/api/v1/", "/api/v1/nothing/", "/api/v2/orders/", "/api/v1/orders/1/"]
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_path_that_leads_nowhere_is_a_problem(ada_http, settings, debug, path, method):
    settings.DEBUG = debug
    answer = getattr(ada_http, method)(path)
    assert answer.status_code == 404
    said(answer)


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_missing_slash_is_pointed_out(ada_http, settings, method):
    settings.DEBUG = True
    answer = getattr(ada_http, method)("/api/v1/orders")
    assert answer.status_code == 404
    assert "end with a slash" in said(answer)["detail"]


def test_outside_of_the_api_pages_stay_pages(http, db):
    answer = http.get("/nothing")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_without_a_token_there_is_a_challenge(http, db):
    answer = http.get("/api/v1/orders/")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    said(answer)


def test_a_method_that_is_not_there_is_a_problem(ada_http):
    answer = ada_http.delete("/api/v1/orders/")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST, HEAD, OPTIONS")
    said(answer)


def test_a_host_that_is_not_ours_is_a_problem(ada_http, settings):
    settings.DEBUG = False
    settings.ALLOWED_HOSTS = ["shop.example"]
    answer = ada_http.get("/api/v1/orders/")
    assert answer.status_code == 400
    said(answer)


def test_an_error_of_ours_is_a_problem_that_tells_nothing(ada_http, settings, monkeypatch):
    settings.DEBUG = False
    monkeypatch.setattr(SagaResource, "rows_for", lambda resource, user: 1 / 0)
    answer = ada_http.get("/api/v1/orders/")
    assert answer.status_code == 500
    assert "zero" not in str(said(answer))


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("connection refused"),
        InterfaceError("connection already closed"),
        caused(OperationalError(), errors.DeadlockDetected()),
        caused(OperationalError(), errors.LockNotAvailable()),
        caused(OperationalError(), errors.IoError()),
        caused(InternalError(), errors.ReadOnlySqlTransaction()),
    ],
    ids=repr,
)
def test_a_database_in_passing_trouble_is_503_and_worth_another_try(error):
    answer = exception_handler(error, {})
    assert answer is not None
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_an_error_of_our_sql_is_ours():
    assert exception_handler(caused(ProgrammingError(), errors.UndefinedTable()), {}) is None


@pytest.mark.django_db(databases=["default"])
def test_a_database_that_is_down_is_503_for_a_client(ada_http, monkeypatch):
    def down(resource, user):
        raise OperationalError("connection refused")

    monkeypatch.setattr(SagaResource, "rows_for", down)
    answer = ada_http.get("/api/v1/orders/")
    assert answer.status_code == 503
    assert "refused" not in str(said(answer))


def test_a_wait_is_told():
    answer = exception_handler(Throttled(wait=7), {})
    assert answer is not None
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")


class Inner(serializers.Serializer):
    amount = serializers.IntegerField()


class Outer(serializers.Serializer):
    name = serializers.CharField()
    inner = Inner(many=True)

    def validate(self, attrs):
        raise serializers.ValidationError("Not like this.", code="whole")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            {"inner": [{"amount": 1}, {"amount": "x"}]},
            {("name", "required"), ("inner[1].amount", "invalid")},
        ),
        ({"name": "a", "inner": []}, {("", "whole")}),
        ({"name": "a", "inner": {}}, {("inner", "not_a_list")}),
    ],
)
def test_errors_of_serializers_are_flattened_into_paths(data, expected):
    outer = Outer(data=data)
    with pytest.raises(serializers.ValidationError) as caught:
        outer.is_valid(raise_exception=True)
    answer = exception_handler(caught.value, {})
    assert answer is not None
    assert {(error["field"], error["code"]) for error in answer.data["errors"]} == expected


def test_invalid_input_says_the_first_faults_in_its_detail():
    told = InvalidInput(*(FieldError(f"f{n}", "invalid", "No.") for n in range(9))).body()
    assert told["detail"] == "f0: No.; f1: No.; f2: No."
    assert len(told["errors"]) == 9


def test_the_handlers_leave_other_pages_alone(rf):
    page, call = rf.get("/admin/"), rf.get("/api/v1/")
    for handler in (handlers.bad_request, handlers.permission_denied, handlers.not_found):
        assert handler(page, Exception()).headers["Content-Type"].startswith("text/html")
        assert handler(call, Exception()).headers["Content-Type"] == PROBLEM
    assert handlers.server_error(page).headers["Content-Type"].startswith("text/html")
    assert handlers.server_error(call).headers["Content-Type"] == PROBLEM


def test_a_client_that_asks_for_html_gets_what_it_can_read_or_a_problem(ada):
    answer = Client().get("/api/v1/orders/", headers={"Accept": "text/html"})
    assert answer.headers["Content-Type"] == PROBLEM
