"""The command line: `python -m tools.stripe_sandbox --port 12111 --ledger sandbox.sqlite3`."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.stripe_sandbox import delayed_settlement
from tools.stripe_sandbox.app import App
from tools.stripe_sandbox.server import Server
from tools.stripe_sandbox.store import Store
from tools.stripe_sandbox.webhook_sender import WebhookSender

log = logging.getLogger("sandbox")

BANNER = (
    "SANDBOX: no money moves here. This server answers as Stripe's API does at %s. "
    "Its ledger is in %s."
)
IDLE_SECONDS = 0.05


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())

    store = Store(
        chosen.ledger, has_endpoint=bool(chosen.webhook_url), settle_seconds=chosen.settle_seconds
    )
    server = Server((chosen.host, chosen.port))
    server.app = App(store, api_key=chosen.api_key, origin=server.origin)
    threading.Thread(target=server.serve_forever, name="server", daemon=True).start()
    log.info(BANNER, server.origin, chosen.ledger)
    _run_in_background(lambda: delayed_settlement.run_once(store), until=stopping)

    if chosen.webhook_url:
        sender = WebhookSender(store, url=chosen.webhook_url, secret=chosen.webhook_secret)
        _run_in_background(sender.run_once, until=stopping)

    stopping.wait()
    server.shutdown()
    log.info("SANDBOX: stopped")

    return 0


def _run_in_background(run_once: Callable[[], int], *, until: threading.Event) -> None:
    """Call `run_once` repeatedly in a thread, with a pause when it had nothing to do."""

    def loop() -> None:
        done = 0
        while not until.wait(0 if done else IDLE_SECONDS):
            try:
                done = run_once()
            except Exception:
                log.exception("A background task of the sandbox failed. It is tried again.")
                done = 0

    threading.Thread(target=loop, daemon=True).start()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.stripe_sandbox",
        description="Simulate a payment provider with Stripe's API. No money moves.",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument("--port", type=int, default=12111)
    parser.add_argument("--ledger", type=Path, required=True, help="path of the SQLite file")

    # `ps` shows arguments, so secrets may also come from the environment.
    key, secret = os.environ.get("STRIPE_API_KEY"), os.environ.get("STRIPE_WEBHOOK_SECRET")
    parser.add_argument(
        "--api-key",
        default=key or "sk_test_sandbox",
        help="secret key, starts with sk_test_ (default: STRIPE_API_KEY)",
    )
    parser.add_argument("--webhook-url", default="", help="address that receives the events")
    parser.add_argument(
        "--webhook-secret",
        default=secret or "whsec_sandbox",
        help="signing secret (default: STRIPE_WEBHOOK_SECRET)",
    )
    parser.add_argument(
        "--settle-seconds",
        type=float,
        default=10.0,
        help="seconds until the bank settles a pending payment or refund",
    )

    return parser


if __name__ == "__main__":
    sys.exit(main())
