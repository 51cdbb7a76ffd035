"""A message that is compressed, huge or deeply nested costs no worker more than some tens of MB."""

import bz2
import json
import lzma
import zlib
from base64 import b64encode
from pathlib import Path

import psutil
import pytest

from tests.outside.harness import valkey
from tests.processes import until
from tests.system.harness import order, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

# The most by which the peak memory of any process of a worker may grow.
MOST_GROWTH = 64 * 1024 * 1024

MB = 1_000_000

# Compressed, this text has 0.3 MB at most. Unpacked, it would take 300 MB several times.
BOMB = b'"' + b"x" * (300 * MB) + b'"'


def message(body, *, headers=None, **parts):
    """Return a message as kombu writes it to a list."""
    task = {"task": "sagas.run_step", "id": "hostile", "lang": "py", "saga_signature": "A" * 43}
    envelope = {
        "body": body if isinstance(body, str) else b64encode(body).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {**task, **(headers or {})},
        "properties": {
            "delivery_tag": "hostile",
            "delivery_info": {"exchange": "", "routing_key": "payments"},
            "body_encoding": "base64",
        },
    }
    return json.dumps({**envelope, **parts}).encode()


def compressed(name):
    """Return a message whose body unpacks to 300 MB."""
    pack = {
        "application/x-gzip": lambda text: zlib.compress(text, 9),
        "application/x-bz2": lambda text: bz2.compress(text, 9),
        "application/x-lzma": lambda text: lzma.compress(text, preset=0),
    }
    return message(pack[name](BOMB), headers={"compression": name})


def nested(depth):
    return b"[" * depth + b"]" * depth


def many_lists(size):
    """Return JSON of some bytes that takes twenty times as much memory when it is parsed."""
    return b"[" + b"[]," * (size // 3) + b"[]]"


def with_stamps(text):
    return message(b"[[],{},{}]").replace(b'"lang": "py"', b'"lang": "py", "stamps": ' + text)


HOSTILE = {
    "gzip": lambda: compressed("application/x-gzip"),
    "bzip2": lambda: compressed("application/x-bz2"),
    "lzma": lambda: compressed("application/x-lzma"),
    "a compression without a name": lambda: message(b"[]", headers={"compression": "brotli"}),
    "another type": lambda: message(b"cos\nsystem\n", **{"content-type": "application/x-pickle"}),
    "another encoding": lambda: message(b"[]", **{"content-encoding": "binary"}),
    "no base64": lambda: message("[]").replace(b'"base64"', b'"utf-8"'),
    "100 MB of text": lambda: b"x" * (100 * MB),
    "a body of 100 MB": lambda: message(b"x" * (75 * MB)),
    "many lists, too large": lambda: message(many_lists(5 * MB)),
    "many lists, just small enough": lambda: message(many_lists(700_000)),
    "many objects, just small enough": lambda: message(b"[" + b"{}," * 250_000 + b"{}]"),
    "deeply nested": lambda: message(nested(350_000)),
    "an envelope that is deeply nested": lambda: nested(500_000),
    "many lists in a header, just small enough": lambda: with_stamps(many_lists(900_000)),
    "a header of 100 MB": lambda: with_stamps(b'"' + b"x" * (100 * MB) + b'"'),
    "a number of 700,000 digits": lambda: message(b"9" * 700_000),
    "a number with a huge exponent": lambda: message(b"[[1e999999999],{},{}]"),
    "a marked number": lambda: message(
        b'[[{"__type__":"decimal","__value__":"1e999999999"}],{},{}]'
    ),
    "a marked value that is none": lambda: message(b'[[{"__type__":"uuid","__value__":[]}],{},{}]'),
    "base64 in base64": lambda: message(b64encode(b64encode(b"x" * 400_000))),
    "no base64 at all": lambda: message("\u00e4" * 1_000),
    "many zero bytes": lambda: b"\0" * 900_000,
}


def processes(worker):
    """Return the main process of a worker and its children."""
    main = psutil.Process(worker.popen.pid)
    return [main, *main.children(recursive=True)]


def peak(process):
    """Return the highest resident memory of a process since `forget_peaks`, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def forget_peaks(worker):
    for process in processes(worker):
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")


@pytest.mark.parametrize("name", HOSTILE)
def test_no_worker_grows_by_a_hostile_message(api_client, system, name):
    item = HOSTILE[name]()
    (process,) = system.workers
    before = order(api_client, "before")
    system.wait_until_idle()
    forget_peaks(process)
    started = {one.pid: peak(one) for one in processes(process)}

    with valkey() as client:
        client.lpush("payments", item)
        until(lambda: client.llen("payments") == 0, "the message is read", process=process)
    after = order(api_client, "after")
    system.wait_until_idle()

    growth = {one.pid: peak(one) - started[one.pid] for one in processes(process)}
    assert max(growth.values()) < MOST_GROWTH
    assert started.keys() == growth.keys()  # no process was killed
    assert [outcome(before), outcome(after)] == [("fulfilled", "")] * 2
