"""Answers probes before Django checks the request's host.

Load balancers, Kubernetes and Prometheus request these paths by the address of a machine or pod,
which is not in ALLOWED_HOSTS, and over plain http. The answers do not contain the host.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from api.monitoring.health import healthz, readyz
from api.monitoring.metrics import metrics
from api.requests.malformed import refuse_malformed

__all__ = ["AnswerProbes"]


class AnswerProbes:
    """Runs the view of a probe, without the middleware that comes later. A middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.views = {
            "/healthz": refuse_malformed(healthz),
            "/readyz": refuse_malformed(readyz),
            "/metrics": refuse_malformed(metrics),
        }

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a probe, or pass a request on."""
        view = self.views.get(request.path_info)
        if view is None:
            return self.get_response(request)
        response = view(request)
        if isinstance(response, HttpResponse):
            response["Content-Length"] = str(len(response.content))
        return response
