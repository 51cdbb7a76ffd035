"""Paths of tokens, the schema and its documentation."""

from django.urls import path
from drf_spectacular.views import SpectacularSwaggerSplitView

from api.auth.views import TokensView, TokenView
from api.schema_view import SchemaView
from api.signals import SignalsView

urlpatterns = [
    path("auth/token/", TokenView.as_view(), name="token"),
    path("auth/tokens/", TokensView.as_view(), name="tokens"),
    path("sagas/<uuid:pk>/signals/<str:step>/", SignalsView.as_view(), name="saga-signal"),
    path("schema/", SchemaView.as_view(), name="schema"),
    path(
        "docs/",
        SpectacularSwaggerSplitView.as_view(url_name="schema", template_name="api/docs.html"),
        name="docs",
    ),
]
