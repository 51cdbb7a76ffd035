"""What the OpenAPI schema says that the views do not: input structs, and each kind of problem where
it may come.

Each service describes its own operations in a module of this name, with what is here. `as_yaml` is
the whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import groupby
from typing import Any

import msgspec
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from api.problems import problem_types
from api.problems.problem_types import ProblemType, get_problem_type
from api.requests.converters import SkuConverter

__all__ = ["SKU", "add_components", "answer_header", "as_yaml", "body_of", "problems", "schema"]

MEDIA_TYPE = "application/problem+json"

FIELD_ERROR = {
    "type": "object",
    "description": "What is wrong with one field of the input.",
    "required": ["field", "code", "detail"],
    "properties": {
        "field": {
            "type": "string",
            "description": "The path in the body, like `lines[1].quantity`; or the parameter or header. May be empty.",
        },
        "code": {"type": "string", "description": "What is wrong, for programs."},
        "detail": {"type": "string", "description": "What is wrong, for people."},
    },
}

PROBLEM = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "description": "The kind of problem, for programs: compare the string. It leads to its explanation.",
        },
        "title": {"type": "string", "description": "The kind of problem, for people."},
        "status": {
            "type": "integer",
            "minimum": 400,
            "maximum": 599,
            "description": "The status of the answer.",
        },
        "detail": {"type": "string", "description": "What went wrong this time, for people."},
        "errors": {
            "type": "array",
            "description": "The fields at fault, where the input is.",
            "items": {"$ref": "#/components/schemas/FieldError"},
        },
    },
}

HEADERS: Mapping[str, Mapping[str, Any]] = {
    "Retry-After": {
        "description": "Seconds to wait before another try.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {"description": "What the API wants to see.", "schema": {"type": "string"}},
}

# Of every operation; and of those with a body, with something to find, and with something to get
# wrong.
EVERYWHERE = (
    problem_types.BAD_REQUEST,
    problem_types.NOT_ACCEPTABLE,
    problem_types.TOO_MANY_REQUESTS,
    problem_types.INTERNAL_ERROR,
    problem_types.UNAVAILABLE,
)
OF_A_BODY = (
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

_structs: dict[str, type[msgspec.Struct]] = {}


def body_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the request body that a struct takes, for `extend_schema(request=…)`."""
    _structs[struct.__name__] = struct
    return {"application/json": {"$ref": f"#/components/schemas/{struct.__name__}"}}


def problems(*of: ProblemType) -> dict[str, Any]:
    """Name the kinds of problem that an operation has beside the usual, for
    `extend_schema(extensions=…)`.
    """
    return {"x-problems": [kind.slug for kind in of]}


def answer_header(
    name: str, *statuses: int, description: str, required: bool = True
) -> OpenApiParameter:
    """Describe a header that an operation answers with, for `extend_schema(parameters=…)`."""
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
    """Add the input structs, and to every operation its problems. A postprocessing hook of
    drf-spectacular.
    """
    components = result["components"]
    structs = msgspec.json.schema_components(
        _structs.values(), ref_template="#/components/schemas/{name}"
    )[1]
    schemas = (
        components.get("schemas", {}) | structs | {"Problem": PROBLEM, "FieldError": FIELD_ERROR}
    )
    responses: dict[str, Any] = {}
    for path, operation in _operations(result["paths"]):
        for of in _by_status(_kinds_of(path, operation)):
            name = "Or".join(kind.title.title().replace(" ", "") for kind in of)
            responses[name] = _response(of)
            operation["responses"][str(of[0].status)] = {"$ref": f"#/components/responses/{name}"}
        if "requestBody" in operation:
            operation["requestBody"]["required"] = True
        for status, answer in operation["responses"].items():
            if answer.get("description") == "":
                answer["description"] = HTTPStatus(int(status)).phrase
    components["schemas"], components["responses"] = (
        dict(sorted(schemas.items())),
        dict(sorted(responses.items())),
    )
    return result


def _operations(paths: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in paths.items():
        yield from ((path, operation) for operation in item.values() if "responses" in operation)


def _kinds_of(path: str, operation: dict[str, Any]) -> set[ProblemType]:
    """Return all kinds of problem of an operation: what it says itself, and what follows from
    its shape.
    """
    found = {kind for slug in operation.pop("x-problems", ()) if (kind := get_problem_type(slug))}
    found.update(EVERYWHERE)
    if any(scheme for scheme in operation.get("security", ())):
        found.add(problem_types.NOT_AUTHENTICATED)
    if "{" in path:
        found.add(problem_types.NOT_FOUND)
    if "requestBody" in operation:
        found.update(OF_A_BODY)
    if any(parameter["in"] != "path" for parameter in operation.get("parameters", ())):
        found.add(problem_types.INVALID_INPUT)
    return found


def _by_status(of: set[ProblemType]) -> Iterator[Sequence[ProblemType]]:
    ordered = sorted(of, key=lambda kind: (kind.status, kind.slug))
    for _, group in groupby(ordered, key=lambda kind: kind.status):
        yield tuple(group)


def _response(of: Sequence[ProblemType]) -> dict[str, Any]:
    """Describe the answer of some kinds of problem that have one status."""
    always = set.intersection(*(set(kind.headers) for kind in of))
    response: dict[str, Any] = {
        "description": "\n".join(f"`{kind.type}`: {kind.meaning}" for kind in of),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {
                    kind.slug: {"summary": kind.title, "value": _example(kind)} for kind in of
                },
            }
        },
    }
    if always:
        response["headers"] = {name: {**HEADERS[name], "required": True} for name in sorted(always)}
    return response


def _example(kind: ProblemType) -> dict[str, Any]:
    example = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": kind.meaning,
    }
    if kind is not problem_types.INVALID_INPUT:
        return example
    error = {"field": "lines[1].quantity", "code": "invalid", "detail": "Expected int >= 1."}
    return example | {"detail": f"{error['field']}: {error['detail']}", "errors": [error]}
