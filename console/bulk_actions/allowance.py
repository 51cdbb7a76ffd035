"""The refunds that one person may make without a second person, by currency and rolling day.

All runs of a person count, from every surface, with the refunds that were possible when they were
confirmed. These include charges of unknown outcome, and sagas that turned out to need nothing.
Drafts, runs that wait for approval, and runs that a second person decided on do not count.
"""

from collections import Counter

import msgspec
from django.contrib.auth.models import User

from console.bulk_actions.preview import Impact
from console.conf import setting
from console.models import Run
from sagas import currencies, sql
from sagas.currencies import with_currency

__all__ = ["Allowance", "allowances", "exceeded_allowances", "limit_of", "lock_allowance"]

# Runs of the last release have the same keys in `radius`.
USED = """
SELECT refund.currency, sum(refund.amount::numeric)
  FROM console_run run
  CROSS JOIN LATERAL (SELECT * FROM jsonb_each_text(run.radius -> 'refunds')
                      UNION ALL
                      SELECT * FROM jsonb_each_text(run.radius -> 'undecided')
                     ) refund(currency, amount)
 WHERE run.requested_by_id = %(person)s AND run.decided_by_id IS NULL
   AND run.state IN ('running', 'ended')
   AND run.confirmed_at > statement_timestamp() - interval '24 hours'
 GROUP BY refund.currency
"""


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """The refunds of one person in one currency, in its minor units. Stored with a run.

    `used` was refunded by the person's runs of the last 24 hours, and the new run `adds` to it.
    `limit` is None for a currency without a limit of its own: each refund needs a second person.
    """

    currency: str
    used: int
    adds: int
    limit: int | None

    @property
    def is_exceeded(self) -> bool:
        """Tell whether the new run needs a second person."""
        return self.limit is None or self.used + self.adds > self.limit

    @property
    def excess(self) -> int:
        """Return the amount above the limit."""
        return max(0, self.used + self.adds - (self.limit or 0))

    @property
    def in_words(self) -> str:
        """Return the reason for a second person, or the room that is left, as sentences."""
        code = self.currency.upper()
        adds = self._amount(self.adds)
        if self.limit is None:
            return (
                f"{code} has no limit of its own, so each refund in it needs a second person."
                f" This run may refund {adds}."
            )
        known = (
            f"One person may refund {self._amount(self.limit)} within 24 hours."
            f" Earlier runs: {self._amount(self.used)}. This run adds {adds}:"
        )
        if self.is_exceeded:
            return f"{known} {self._amount(self.excess)} too much."
        return f"{known} {self._amount(self.limit - self.used - self.adds)} are left."

    def _amount(self, amount: int) -> str:
        return with_currency(amount, self.currency)


def limit_of(currency: str) -> int | None:
    """Return the limit for a currency, in its minor units; None if it has no limit of its own."""
    return currencies.limit_of(
        currency, setting("CONSOLE_REFUND_LIMITS"), setting("CONSOLE_REFUND_LIMIT")
    )


def allowances(person: User, impact: Impact) -> list[Allowance]:
    """Return the allowance of a person for each currency that a run with this impact may refund."""
    used = {currency: int(amount) for currency, amount in _used(person)}
    adds = Counter(impact.refunds) + Counter(impact.undecided)  # without zeros
    return [
        Allowance(
            currency=currency,
            used=used.get(currency, 0),
            adds=amount,
            limit=limit_of(currency),
        )
        for currency, amount in sorted(adds.items())
    ]


def exceeded_allowances(run: Run) -> list[Allowance]:
    """Return the allowances that a run exceeded when it was confirmed.

    None are known of a run that waits since the last release.
    """
    return msgspec.convert(run.over_limit or [], list[Allowance])


def lock_allowance(person: User) -> None:
    """Let one confirmation of a person wait for another, until the transaction ends.

    Their user row is locked without barring foreign keys to it, such as those of new rows.
    """
    User.objects.select_for_update(no_key=True).only("pk").get(pk=person.pk)


def _used(person: User) -> list[tuple[str, int]]:
    return sql.fetch("default", USED, {"person": person.pk})
