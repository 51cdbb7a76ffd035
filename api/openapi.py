"""Additions to the OpenAPI schema: the input structs, and the problems of each operation.

Each service describes its own operations in a module named `openapi`, with the functions below.
"""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import groupby
from typing import Any

import msgspec
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.renderers import OpenApiYamlRenderer
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from api.problems import problem_types
from api.problems.exceptions import MEDIA_TYPE
from api.problems.problem_types import ProblemType, get_problem_type
from api.requests.conditions import SAFE_METHODS
from api.requests.converters import SkuConverter

__all__ = [
    "BODY_IS_OPTIONAL",
    "SKU",
    "add_components",
    "answer_header",
    "as_yaml",
    "problems",
    "schema",
]

FIELD_ERROR = {
    "type": "object",
    "description": "An error in one field of the input.",
    "required": ["field", "code", "detail"],
    "properties": {
        "field": {
            "type": "string",
            "description": "The path in the body, like `lines[1].quantity`; or the parameter or "
            "header. Empty for the body as a whole.",
        },
        "code": {"type": "string", "description": "The kind of error, for programs."},
        "detail": {"type": "string", "description": "The explanation, for people."},
    },
}

PROBLEM = {
    "type": "object",
    "description": "An error (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "description": "The type of the problem, for programs: compare the string. "
            "It is also the path of its explanation.",
        },
        "title": {"type": "string", "description": "The type of the problem, for people."},
        "status": {
            "type": "integer",
            "minimum": 400,
            "maximum": 599,
            "description": "The status of the response.",
        },
        "detail": {"type": "string", "description": "This occurrence of the problem, for people."},
        "errors": {
            "type": "array",
            "description": "The errors of the input, field by field.",
            "items": {"$ref": "#/components/schemas/FieldError"},
        },
        "amount": {
            "type": "integer",
            "minimum": 1,
            "description": "With `amount-changed`: the present amount of the order, in minor "
            "units of `currency`.",
        },
        "currency": {
            "type": "string",
            "description": "With `amount-changed`: the present currency of the order.",
        },
    },
}

OWN_SCHEMAS = {"Problem": PROBLEM, "FieldError": FIELD_ERROR}

HEADERS: Mapping[str, Mapping[str, Any]] = {
    "Retry-After": {
        "description": "Seconds to wait before the next attempt.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {
        "description": "The authentication scheme that the API expects.",
        "schema": {"type": "string"},
    },
}

# The problems of every operation, and the problems of every operation that takes a body.
EVERYWHERE = (
    problem_types.BAD_REQUEST,
    problem_types.NOT_ACCEPTABLE,
    problem_types.TOO_MANY_REQUESTS,
    problem_types.INTERNAL_ERROR,
    problem_types.UNAVAILABLE,
)
WITH_BODY = (
    problem_types.INVALID_INPUT,
    problem_types.LENGTH_REQUIRED,
    problem_types.BODY_TOO_LARGE,
    problem_types.UNSUPPORTED_MEDIA_TYPE,
)

SKU = OpenApiParameter(
    "sku",
    OpenApiTypes.STR,
    OpenApiParameter.PATH,
    description="The SKU.",
    pattern=f"^{SkuConverter.regex}$",
)


class StructExtension(OpenApiSerializerExtension):
    """Describes msgspec structs, so that `extend_schema(request=…)` takes one like a serializer."""

    target_class = msgspec.Struct
    match_subclasses = True

    def get_name(self, auto_schema: AutoSchema, direction: str) -> str:
        """Return the name of the component."""
        return str(self.target.__name__)

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        """Return the struct's schema, and register the components of nested structs."""
        _, schemas = msgspec.json.schema_components(
            [self.target], ref_template="#/components/schemas/{name}"
        )
        own: dict[str, Any] = schemas.pop(self.target.__name__)
        for name, nested in schemas.items():
            auto_schema.registry.register_on_missing(
                ResolvedComponent(name, ResolvedComponent.SCHEMA, nested, object=name)
            )
        return own


def problems(*specific: ProblemType) -> dict[str, Any]:
    """Name the problems that are specific to an operation, for `extend_schema(extensions=…)`."""
    return {"x-problems": [problem_type.slug for problem_type in specific]}


# Says that the body of an operation may be left out, for `extend_schema(extensions=…)`.
BODY_IS_OPTIONAL = {"x-body-is-optional": True}


def answer_header(
    name: str, *statuses: int, description: str, required: bool = True
) -> OpenApiParameter:
    """Describe a response header, for `extend_schema(parameters=…)`."""
    return OpenApiParameter(
        name,
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        required=required,
        description=description,
        response=list(statuses),
    )


def schema() -> dict[str, Any]:
    """Return the schema of the whole API."""
    return dict(SchemaGenerator().get_schema(request=None, public=True))


def as_yaml() -> str:
    """Return the text of docs/openapi.yaml."""
    rendered: bytes = OpenApiYamlRenderer().render(schema(), renderer_context={})
    return rendered.decode()


def add_components(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the problems of each operation.

    A postprocessing hook of drf-spectacular.
    """
    components = result["components"]
    responses: dict[str, Any] = {}
    for path, method, operation in _operations(result["paths"]):
        responses |= _add_problems(path, method, operation)
        _complete(operation)

    schemas = components.get("schemas", {}) | OWN_SCHEMAS
    components["schemas"] = dict(sorted(schemas.items()))
    components["responses"] = dict(sorted(responses.items()))
    return result


def _operations(paths: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in paths.items():
        for method, operation in item.items():
            if "responses" in operation:
                yield path, method.upper(), operation


def _add_problems(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    """Refer to the operation's problems, one response for each status; return these responses."""
    responses = {}
    for group in _by_status(_problem_types_of(path, method, operation)):
        name = "Or".join(known.title.title().replace(" ", "") for known in group)
        responses[name] = _response(group)
        reference = {"$ref": f"#/components/responses/{name}"}
        operation["responses"][str(group[0].status)] = reference
    return responses


def _complete(operation: dict[str, Any]) -> None:
    """Tell whether the body is required, and describe responses that have no description."""
    if "requestBody" in operation:
        operation["requestBody"]["required"] = not operation.pop("x-body-is-optional", False)
    for status, response in operation["responses"].items():
        if response.get("description") == "":
            response["description"] = HTTPStatus(int(status)).phrase


def _problem_types_of(path: str, method: str, operation: dict[str, Any]) -> set[ProblemType]:
    """Return the problem types named by an operation, and others implied by its shape."""
    named = (get_problem_type(slug) for slug in operation.pop("x-problems", ()))
    found = {problem_type for problem_type in named if problem_type}
    found.update(EVERYWHERE)

    if any(scheme for scheme in operation.get("security", ())):
        found.add(problem_types.NOT_AUTHENTICATED)
    if "{" in path:
        found.add(problem_types.NOT_FOUND)
    if "requestBody" in operation:
        found.update(WITH_BODY)
    if method not in SAFE_METHODS:
        found.add(problem_types.CONDITION_NOT_SUPPORTED)
    if any(parameter["in"] != "path" for parameter in operation.get("parameters", ())):
        found.add(problem_types.INVALID_INPUT)
    return found


def _by_status(found: set[ProblemType]) -> Iterator[Sequence[ProblemType]]:
    ordered = sorted(found, key=lambda known: (known.status, known.slug))
    for _, group in groupby(ordered, key=lambda known: known.status):
        yield tuple(group)


def _response(group: Sequence[ProblemType]) -> dict[str, Any]:
    """Describe one response for problem types that share a status."""
    lines = [f"`{known.type}`: {known.meaning}" for known in group]
    examples = {known.slug: {"summary": known.title, "value": _example(known)} for known in group}
    response: dict[str, Any] = {
        "description": "\n".join(lines),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": examples,
            }
        },
    }

    always = set.intersection(*(set(known.headers) for known in group))
    sometimes = set.union(*(set(known.headers) for known in group))
    if sometimes:
        response["headers"] = {
            name: {**HEADERS[name], "required": name in always} for name in sorted(sometimes)
        }
    return response


def _example(problem_type: ProblemType) -> dict[str, Any]:
    example = {
        "type": problem_type.type,
        "title": problem_type.title,
        "status": problem_type.status,
        "detail": problem_type.meaning,
    }
    if problem_type is not problem_types.INVALID_INPUT:
        return example | dict(problem_type.members)
    error = {"field": "lines[1].quantity", "code": "invalid", "detail": "Expected int >= 1."}
    return example | {"detail": f"{error['field']}: {error['detail']}", "errors": [error]}
