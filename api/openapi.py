"""What the OpenAPI schema says that the views do not: input structs, and problems as the answer to what goes wrong."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

__all__ = ["PROBLEM", "add_problems", "body_of"]

PROBLEM = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "code", "detail"],
                "properties": {name: {"type": "string"} for name in ("field", "code", "detail")},
            },
        },
    },
}


def body_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the request body that a struct takes, for `extend_schema(request=…)`."""
    (schema,), components = msgspec.json.schema_components([struct], ref_template="{name}")
    inlined: dict[str, Any] = _inline(schema, components)
    return {"application/json": inlined}


def add_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Say of every operation that it answers anything else with a problem. A postprocessing hook of drf-spectacular."""
    result["components"].setdefault("schemas", {})["Problem"] = PROBLEM
    for operation in _operations(result["paths"]):
        content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        operation["responses"].setdefault("default", {"description": "What went wrong.", "content": content})
    return result


def _operations(paths: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path in paths.values():
        yield from (operation for operation in path.values() if "responses" in operation)


def _inline(schema: Any, components: Mapping[str, Any]) -> Any:
    """Replace references by what they refer to; input structs never refer to themselves."""
    if isinstance(schema, list):
        return [_inline(item, components) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(components[schema["$ref"]], components)
    return {name: _inline(value, components) for name, value in schema.items()}
