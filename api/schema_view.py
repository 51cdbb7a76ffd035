"""The view of the schema. Each process makes the schema once, because that takes long."""

from functools import cache
from typing import Any

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request

__all__ = ["SchemaView", "rendered_schema"]


class SchemaView(SpectacularAPIView):
    """Describes the API. The schema is the same for every user, and changes by release only."""

    def _get_schema_response(self, request: Request) -> HttpResponse:
        renderer, media_type = self.perform_content_negotiation(request, force=True)
        charset = f"; charset={renderer.charset}" if renderer.charset else ""
        name = self._get_filename(request, None)
        return HttpResponse(
            rendered_schema(str(renderer.media_type)),
            content_type=f"{media_type}{charset}",
            headers={"Content-Disposition": f'inline; filename="{name}"'},
        )


@cache
def rendered_schema(media_type: str) -> bytes:
    """Return the schema of the whole API as a renderer with this media type writes it."""
    (renderer,) = (one for one in SchemaView.renderer_classes if one.media_type == media_type)
    text = renderer().render(_schema(), renderer_context={})
    return text.encode() if isinstance(text, str) else text


@cache
def _schema() -> dict[str, Any]:
    """Return the schema. All media types share it, because only its rendering differs."""
    schema: dict[str, Any] = SchemaGenerator().get_schema(public=True)
    return schema
