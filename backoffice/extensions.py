"""Registers the additions of the shop to the console."""

from collections.abc import Iterator
from uuid import UUID

from audit.models import Finding
from backoffice.actions.cancel import CancelOrder
from backoffice.actions.mark_done import MarkDoneWithMoney
from backoffice.actions.paid_otherwise import PaidOtherwise
from backoffice.actions.retry import RetryWithPayment
from backoffice.dashboard.part import ShopPart
from backoffice.event_words import NOTHING_BACK, WORDS
from console.bulk_actions import registry
from console.dashboard import parts
from console.order_page.concerns import Concern, register_concerns
from console.order_page.event_words import register_nothing_back, register_words

__all__: list[str] = []


def _findings(saga: UUID) -> Iterator[Concern]:
    """Yield the violations that the audit has found for a saga."""
    for finding in Finding.objects.filter(subject=str(saga)):
        yield Concern(
            f"The audit found a violation of {finding.invariant}: {finding.detail} "
            "(Amounts are in minor units.)",
            finding,
        )


for action in (RetryWithPayment(), CancelOrder(), MarkDoneWithMoney(), PaidOtherwise()):
    registry.register(action)

parts.register(ShopPart())
register_words(WORDS)
register_nothing_back(NOTHING_BACK)
register_concerns("findings", "orders", _findings)
