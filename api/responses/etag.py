"""Conditional requests (RFC 9110, section 13): a strong ETag of the body, 304 and 412.

Django's ConditionalGetMiddleware was tried: it answers 412 as HTML, gives HEAD no ETag, and drops
Content-Length and Preference-Applied from a 304.
"""

from functools import partial

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response, set_response_etag
from rest_framework.request import Request
from rest_framework.response import Response

from api.problems.exceptions import Problem, problem_response
from api.problems.problem_types import PRECONDITION_FAILED

__all__ = ["CACHED_PRIVATELY", "add_etag", "compare_etag"]

# The client may store the response, shared caches may not, and each use needs revalidation.
CACHED_PRIVATELY = "private, no-cache"


def compare_etag(request: Request, response: Response) -> Response:
    """Compare a response to GET or HEAD with the client's ETags, once it is rendered."""
    response["Cache-Control"] = CACHED_PRIVATELY
    response.add_post_render_callback(partial(_compare, request._request))
    return response


def add_etag(response: Response) -> Response:
    """Add an ETag to the response to a change, for the client's later requests."""
    response["Cache-Control"] = CACHED_PRIVATELY
    response.add_post_render_callback(set_response_etag)
    return response


def _compare(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    set_response_etag(response)
    compared = get_conditional_response(request, etag=response["ETag"], response=response)
    if compared is None or compared is response:
        return response
    if compared.status_code == 412:
        return problem_response(Problem(PRECONDITION_FAILED))
    # The length of the body that is not sent: RFC 9110, section 8.6.
    compared["Content-Length"] = str(len(response.content))
    if applied := response.get("Preference-Applied"):
        compared["Preference-Applied"] = applied
    return compared
