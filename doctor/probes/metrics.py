"""`/metrics`, which shows amounts, is closed to clients without a token."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus

import httpx
from django.conf import settings

from doctor.findings import Finding, Job, Options, fault, proved, unknown
from doctor.public_request import get
from doctor.registry import probe
from doctor.runner import one_line

__all__ = ["metrics"]

REMEDY = "Set METRICS_TOKEN for every process of the API, and give it to Prometheus."


@probe("metrics", proves="/metrics is closed to clients without a token")
def metrics(options: Options) -> Sequence[Job]:
    return [Job("/metrics", lambda: _metrics(options))]


def _metrics(options: Options) -> Iterator[Finding]:
    if settings.METRICS_TOKEN:
        yield proved("/metrics: asks for a token")
    elif options.exposed:
        yield fault("/metrics: open, because METRICS_TOKEN is not set", REMEDY)
    else:
        yield proved("/metrics: open, to this machine alone")
    if options.url:
        yield _answer(options.url)


def _answer(url: str) -> Finding:
    try:
        answer = get(f"{url}/metrics")
    except httpx.HTTPError as error:
        return unknown(f"/metrics: {url} gives no answer: {one_line(error)}")
    if answer.is_success:
        return fault(f"/metrics: {url}/metrics answers without a token", REMEDY)
    if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
        return proved(f"/metrics: {url}/metrics is refused without a token: {answer.status_code}")
    return unknown(f"/metrics: {url}/metrics answers {answer.status_code}, which proves nothing")
