"""The step keeps the contract that the engine relies on: `pytest test_external_step.py`.

The carrier of the example runs in a thread. Your own test would ask a sandbox of your carrier.
"""

from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from itertools import count
from threading import Thread
from unittest.mock import patch
from urllib.request import urlopen

import external_step
import pytest
from external_step import PORT, Carrier, ParcelPacked

from sagas import Delivery
from sagas.ids import uuid7
from sagas.testing import Case, ExternalStepContract

receivers = (f"receiver {number}" for number in count())


@pytest.fixture(scope="module", autouse=True)
def carrier():
    Carrier.seconds = 0
    with ThreadingHTTPServer(("127.0.0.1", PORT), Carrier) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


class TestShip(ExternalStepContract):
    step = "external_step.ship"
    lacks = {Case.REFUSED: "The carrier takes every parcel."}

    def delivery(self, case):
        return Delivery(saga=uuid7(), context=ParcelPacked(receiver=next(receivers)))

    def effects(self, delivery):
        return list(Carrier.receivers.values()).count(delivery.context.receiver)

    @contextmanager
    def fault(self, case):
        def lose(request, timeout):
            if case is Case.NO_ANSWER:
                urlopen(request, timeout=timeout).close()  # nosec B310  an address of this file
            raise TimeoutError

        with patch.object(external_step, "urlopen", lose):
            yield
