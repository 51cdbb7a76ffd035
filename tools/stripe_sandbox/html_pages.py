"""The HTML pages: the front page, the bank's question to the customer, and the payment page."""

from datetime import UTC, datetime
from html import escape

from tools.stripe_sandbox.http import Reply
from tools.stripe_sandbox.records import Intent

__all__ = ["authentication", "back_to_shop", "front"]

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<body style="font-family: sans-serif; max-width: 40em; margin: 3em auto">
<p style="background: #fd6; padding: .5em">
This is a sandbox. No money moves, and no card exists.</p>
<h1>{title}</h1>
{content}
</body></html>
"""
FRONT = """<p>It answers under <code>/v1/</code> as Stripe's API does, in test mode, and keeps its
own <a href="/sandbox/ledger">ledger</a>.
<code>tools/stripe_sandbox/README.md</code> describes how to
inject faults.</p>"""
QUESTION = """<p>Pay {amount} {currency} (in minor units)?</p>
<form method="post">
<button name="consent" value="yes">Yes, it is me</button>
<button name="consent" value="no">No</button>
</form>"""
INSTRUCTIONS = """<p>Pay {amount} {currency} (in minor units){until}?</p>
<form method="post">
<button name="consent" value="yes">Pay</button>
<button name="consent" value="no">Do not pay</button>
</form>"""


def front() -> Reply:
    """Return the front page."""
    return _page("A sandbox payment provider", FRONT)


def authentication(intent: Intent) -> Reply:
    """Return the bank's question, or the status if there is no question."""
    if intent.status != "requires_action":
        return _page(
            "Nothing to confirm", f"<p>This payment's status is {escape(intent.status)}.</p>"
        )

    amount = {"amount": intent.amount, "currency": escape(intent.currency.upper())}
    action = intent.next_action or {}
    details = action.get(action.get("type", ""), {})
    if "hosted_voucher_url" not in details and "hosted_instructions_url" not in details:
        return _page("Your bank asks", QUESTION.format(**amount))

    expires_at = details.get("expires_at") or details.get("expires_after")
    deadline = datetime.fromtimestamp(expires_at, UTC) if expires_at else None
    until = f" until {deadline:%Y-%m-%d %H:%M} UTC" if deadline else ""
    return _page("Pay your order", INSTRUCTIONS.format(**amount, until=until))


def back_to_shop(intent: Intent) -> Reply:
    """Redirect the customer to the return_url, if there is one."""
    page = _page("Thank you", f"<p>This payment's status is {escape(intent.status)}.</p>")
    if intent.return_url:
        page.status, page.headers = 303, {**page.headers, "Location": intent.return_url}
    return page


def _page(title: str, content: str) -> Reply:
    body = PAGE.format(title=escape(title), content=content).encode()
    return Reply(body=body, headers={"Content-Type": "text/html; charset=utf-8"})
