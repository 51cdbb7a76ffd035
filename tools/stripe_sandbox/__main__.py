"""The command line: `python -m tools.stripe_sandbox --port 12111 --ledger sandbox.sqlite3`."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.stripe_sandbox import bank
from tools.stripe_sandbox.app import App
from tools.stripe_sandbox.books import Books
from tools.stripe_sandbox.courier import Courier
from tools.stripe_sandbox.server import Server

log = logging.getLogger("sandbox")

BANNER = (
    "SANDBOX: no money moves here. It answers as Stripe's API does at %s, and its books are in %s."
)
IDLE_SECONDS = 0.05


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal to end; return the exit code."""
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    books = Books(
        chosen.ledger, listened_to=bool(chosen.webhook_url), settle_seconds=chosen.settle_seconds
    )
    server = Server((chosen.host, chosen.port))
    server.app = App(books, api_key=chosen.api_key, origin=server.origin)
    threading.Thread(target=server.serve_forever, name="server", daemon=True).start()
    log.info(BANNER, server.origin, chosen.ledger)
    _again_and_again(lambda: bank.run_once(books), until=stopping)
    if chosen.webhook_url:
        courier = Courier(books, url=chosen.webhook_url, secret=chosen.webhook_secret)
        _again_and_again(courier.run_once, until=stopping)
    stopping.wait()
    server.shutdown()
    log.info("SANDBOX: stopped")
    return 0


def _again_and_again(run_once: Callable[[], int], *, until: threading.Event) -> None:
    """Run something in a thread of its own, with a rest whenever there was nothing to do."""

    def loop() -> None:
        done = 0
        while not until.wait(0 if done else IDLE_SECONDS):
            try:
                done = run_once()
            except Exception:
                log.exception("Something failed that is no fault on demand. It is tried again.")
                done = 0

    threading.Thread(target=loop, daemon=True).start()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.stripe_sandbox", description="A payment provider that is not one."
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="where to listen (default: this machine alone)"
    )
    parser.add_argument("--port", type=int, default=12111)
    parser.add_argument("--ledger", type=Path, required=True, help="the SQLite file of its books")
    # From the environment, secrets show in no list of processes.
    key, secret = os.environ.get("STRIPE_API_KEY"), os.environ.get("STRIPE_WEBHOOK_SECRET")
    parser.add_argument(
        "--api-key",
        default=key or "sk_test_sandbox",
        help="or STRIPE_API_KEY; it begins with sk_test_",
    )
    parser.add_argument("--webhook-url", default="", help="where events are told")
    parser.add_argument(
        "--webhook-secret", default=secret or "whsec_sandbox", help="or STRIPE_WEBHOOK_SECRET"
    )
    parser.add_argument(
        "--settle-seconds",
        type=float,
        default=10.0,
        help="how long a bank takes for what it does not do at once",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
