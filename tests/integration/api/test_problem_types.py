"""Every problem type has a page and a section in the document, and no other types are used."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.urls import get_resolver
from rest_framework import exceptions

from api.problems.handlers import exception_handler
from api.problems.problem_pages import as_markdown
from api.problems.problem_types import (
    ProblemType,
    all_problem_types,
    get_problem_type,
    problem_type_for_status,
)

DOCUMENT = Path(settings.BASE_DIR) / "docs" / "errors.md"
SHARED = Path(settings.BASE_DIR) / "api" / "resources" / "problem_types.py"
PACKAGES = ("api", "config", "inventory", "orders", "payments", "returns")


@pytest.fixture(autouse=True)
def _everything_is_imported():
    assert get_resolver().url_patterns


def sources():
    return [
        path for package in PACKAGES for path in (Path(settings.BASE_DIR) / package).rglob("*.py")
    ]


def test_every_kind_that_the_code_names_is_registered():
    made = {
        slug for path in sources() for slug in re.findall(r'\bslug="([^"]*)"', path.read_text())
    }
    assert made == {kind.slug for kind in all_problem_types()}


def test_no_problem_has_a_type_from_outside_of_the_registry():
    stranger = re.compile(r"urn:problem|about:blank|Problem\(\s*status")
    assert [path for path in sources() if stranger.search(path.read_text())] == []


def test_a_slug_is_given_once():
    with pytest.raises(ValueError, match="'not-found' is taken"):
        ProblemType(
            slug="not-found", status=404, title="Not found", meaning="Again.", remedy="Again."
        )


def test_what_is_no_slug_names_no_kind():
    with pytest.raises(ValueError, match="not a slug"):
        ProblemType(
            slug="Not Found", status=404, title="Not found", meaning="Again.", remedy="Again."
        )


def test_every_kind_has_its_section_in_the_document_and_no_section_is_of_another():
    documented = re.findall(r"^### (.*)$", DOCUMENT.read_text(), re.MULTILINE)
    assert documented == [kind.slug for kind in all_problem_types()]


def test_the_document_is_what_make_schema_writes():
    assert DOCUMENT.read_text() == as_markdown(), "docs/errors.md has drifted: run `make schema`."


def test_every_type_leads_to_a_page_that_says_what_to_do(http):
    for kind in all_problem_types():
        answer = http.get(kind.type)
        assert answer.status_code == 200
        page = answer.content.decode()
        assert f"<h1>{kind.status} {kind.title}</h1>" in page
        assert kind.type in http.get("/errors/").content.decode()


def test_an_unknown_type_has_no_page(http):
    assert http.get("/errors/no-such-kind").status_code == 404


def rest_exceptions():
    waiting, found = [exceptions.APIException], []
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        if one.__module__ == exceptions.__name__:
            found.append(one)
    return found


@pytest.mark.parametrize("error", rest_exceptions(), ids=lambda error: error.__name__)
def test_whatever_rest_framework_raises_is_of_a_kind(error):
    made = (
        error({"name": ["No."]}) if error is exceptions.ValidationError else error(*needed(error))
    )
    answer = exception_handler(made, {})
    assert answer is not None
    assert get_problem_type(answer.data["type"].removeprefix("/errors/")) is not None
    assert (
        answer.data["status"]
        == made.status_code
        == problem_type_for_status(made.status_code).status
    )


def needed(error):
    return (
        ("GET",) if error in {exceptions.MethodNotAllowed, exceptions.UnsupportedMediaType} else ()
    )


def test_the_types_of_every_resource_do_not_speak_of_orders_alone():
    shared = [
        kind
        for kind in all_problem_types()
        if kind.slug in re.findall(r'slug="([^"]*)"', SHARED.read_text())
    ]
    assert {kind.slug for kind in shared} >= {"idempotency-key-reused", "too-many-streams"}
    for kind in shared:
        assert "order" not in f"{kind.meaning} {kind.remedy}".lower(), kind.slug
