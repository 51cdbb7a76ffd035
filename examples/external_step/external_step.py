"""A step that calls a slow API: the call holds no transaction, and is repeated with the same key.

- `python external_step.py api`: run the API, which takes a second a parcel.
- `python external_step.py migrate --run-syncdb`: create the tables.
- `python external_step.py send 3`: send three parcels.
- `python external_step.py parcels`: list the parcels.
- `celery -A external_step worker --beat`: run the steps; kill it whenever you like.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import django
from celery import Celery
from django.apps import apps
from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import models

# This file is a program, and also the Django app `external_step` that the program imports.
IS_PROGRAM = __name__ == "__main__"
if IS_PROGRAM:
    __name__ = "external_step"
    sys.modules[__name__] = sys.modules["__main__"]

DATABASE = urlsplit(os.environ["DATABASE_URL"])
PORT = int(os.environ.get("API_PORT", "8765"))

settings.configure(
    SECRET_KEY=os.environ.get("SECRET_KEY", "only-for-this-example"),
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.postgres", "django_celery_results", "sagas", "external_step"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": DATABASE.hostname,
            "PORT": DATABASE.port or "",
            "USER": DATABASE.username,
            "PASSWORD": DATABASE.password or "",
            "NAME": DATABASE.path[1:],
        }
    },
    CELERY_BROKER_URL=os.environ["REDIS_URL"],
    SAGAS={"STALL_SECONDS": 5, "LEASE_SECONDS": 5},
)
django.setup()

# --- The engine: the imports need Django's settings ----------------------------------------------
from sagas import Delivery, Event, ExternalStep, Refusal, Saga, Step, action, start, undo
from sagas.celery import configure
from sagas.models import ServiceTables, TrackedSaga
from sagas.outcomes import Unknown


class Messaging(ServiceTables, home=True): ...


class Parcel(TrackedSaga):
    receiver = models.CharField(max_length=100)
    tracking_number = models.CharField(max_length=100)


apps.get_app_config("external_step").models_module = sys.modules[__name__]


# --- The saga ------------------------------------------------------------------------------------
class ParcelPacked(Event, frozen=True):
    type = "parcel.packed"
    receiver: str


class ParcelSent(Event, frozen=True):
    type = "parcel.sent"
    tracking_number: str


class NotSent(Refusal, frozen=True):
    type = "parcel.not_sent"


class Dropped(Event, frozen=True):
    type = "parcel.dropped"


SHIP = Step("external_step.ship", pivot=True)
SEND = Saga("send", SHIP, abort="external_step.drop", started_by=ParcelPacked)


@action("external_step.ship", accepts=ParcelPacked, refusal=NotSent)
class Ship(ExternalStep[ParcelPacked, Request, str | None]):
    """Tell the carrier about a parcel."""

    def prepare(self, batch: Sequence[Delivery[ParcelPacked]]) -> list[Request]:
        """Build the requests. The id of the saga is the key by which the carrier sees a repeat."""
        return [
            Request(
                f"http://127.0.0.1:{PORT}/parcels",
                data=json.dumps({"receiver": parcel.context.receiver}).encode(),
                headers={"Idempotency-Key": str(parcel.saga)},
            )
            for parcel in batch
        ]

    def destination(self, request: Request) -> str:
        """Run the calls beside the worker's steps. All calls to the carrier share one limit."""
        return "carrier"

    def call(self, requests: Sequence[Request]) -> list[str | None]:
        """Ask the carrier, with no transaction open. A failed call is an answer, not an error."""
        return [_answer(request) for request in requests]

    def record(
        self, batch: Sequence[Delivery[ParcelPacked]], answers: Sequence[str | None]
    ) -> list[ParcelSent | Unknown]:
        """Commit the answers. After `Unknown` the step asks again with the same key."""
        for parcel, number in zip(batch, answers, strict=True):
            if number:
                Parcel.objects.filter(pk=parcel.saga).update(tracking_number=number)
        return [
            ParcelSent(tracking_number=number) if number else Unknown("The carrier is away.", 1)
            for number in answers
        ]


def _answer(request: Request) -> str | None:
    try:
        with urlopen(request, timeout=10) as response:  # nosec B310  an address of this file
            number: str = json.load(response)["tracking_number"]
            return number
    except OSError:
        return None


@undo("external_step.drop")
def drop(parcel: Delivery[ParcelPacked]) -> Dropped:
    """End a parcel that the carrier refuses."""
    return Dropped()


app = Celery("external_step")
app.config_from_object("django.conf:settings", namespace="CELERY")
configure(app)


# --- The carrier's API, and the program ----------------------------------------------------------
class Carrier(BaseHTTPRequestHandler):
    """Takes a second for each request, and gives a repeated key the same tracking number."""

    numbers: dict[str, str] = {}
    receivers: dict[str, str] = {}
    seconds = 1.0

    def do_POST(self) -> None:
        """Take a parcel."""
        parcel = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]
        self.numbers.setdefault(key, f"T{len(self.numbers) + 1}")
        self.receivers.setdefault(key, parcel["receiver"])
        time.sleep(self.seconds)
        self._send({"tracking_number": self.numbers[key]})

    def do_GET(self) -> None:
        """Tell how many parcels there are."""
        self._send({"parcels": len(self.numbers)})

    def _send(self, answer: dict[str, object]) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())


if IS_PROGRAM:
    match sys.argv[1:]:
        case ["api"]:
            ThreadingHTTPServer(("127.0.0.1", PORT), Carrier).serve_forever()
        case ["send", count]:
            for receiver in map(str, range(int(count))):
                start(SEND, Parcel(receiver=receiver), ParcelPacked(receiver=receiver))
        case ["parcels"]:
            for row in Parcel.objects.order_by("created_at"):
                print(row.pk, row.receiver, row.tracking_number or "-")
        case _:
            execute_from_command_line(sys.argv)
