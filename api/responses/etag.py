"""Conditional requests (RFC 9110, section 13): a strong ETag for the bytes of an answer, and 304
to who has them.
"""

from functools import partial

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response, set_response_etag
from rest_framework.request import Request
from rest_framework.response import Response

from api.problems.exceptions import Problem, problem_response
from api.problems.problem_types import PRECONDITION_FAILED

__all__ = ["CACHED_PRIVATELY", "conditional", "tagged"]

# The client may keep it, nobody between may, and it is asked for again before each use.
CACHED_PRIVATELY = "private, no-cache"


def conditional(request: Request, response: Response) -> Response:
    """Have an answer compared, once it is rendered, with what the client has. For GET and HEAD."""
    response["Cache-Control"] = CACHED_PRIVATELY
    response.add_post_render_callback(partial(_compare, request._request))
    return response


def tagged(response: Response) -> Response:
    """Give an answer to a change the ETag of what it shows, for later requests to compare."""
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
    compared["Content-Length"] = str(
        len(response.content)
    )  # of what is not sent: RFC 9110, section 8.6
    if applied := response.get("Preference-Applied"):
        compared["Preference-Applied"] = applied
    return compared
