"""Which refunds a person must approve: RETURN_APPROVAL_LIMITS."""

from django.conf import settings

from returns.status import Kind
from sagas.currencies import limit_of

__all__ = ["needs_approval"]


def needs_approval(kind: Kind, amount: int, currency: str) -> bool:
    """Tell whether a person must approve a refund of an amount in minor units of a currency.

    Goodwill always needs it: no goods come back, so nothing else would show a mistake. So does a
    currency that is not counted in hundredths, unless it has a limit of its own. A return that
    refunds nothing needs none.
    """
    if kind == Kind.GOODS and amount == 0:
        return False
    limit = limit_of(currency, settings.RETURN_APPROVAL_LIMITS, settings.RETURN_APPROVAL_LIMIT)
    return kind == Kind.GOODWILL or limit is None or amount > limit
