"""The scheduled check of the log: some entries each time, then from the beginning again."""

import logging

from celery import shared_task
from django.utils import timezone

from staff.chain import GENESIS, Link, verify_part
from staff.models import LogCheck

__all__ = ["ENTRIES_AT_ONCE", "verify_log"]

logger = logging.getLogger(__name__)

# Entries of one check: some seconds of work.
ENTRIES_AT_ONCE = 20_000


@shared_task(name="staff.verify_log")
def verify_log() -> int:
    """Check the next entries of the log; return how many faults they have.

    A fault makes the next check begin anew. It stays recorded until one has reached the head.
    """
    last = LogCheck.objects.first()
    after = Link(last.seq, bytes(last.hash)) if last and last.seq else None
    result = verify_part(after, most=ENTRIES_AT_ONCE)

    if result.faults:
        fault, next_link = result.faults[0], Link(0, GENESIS)
        logger.error("The log of staff is not intact: %s Run `manage.py verify_log`.", fault)
    else:
        fault = "" if last is None or result.at_head else last.fault
        next_link = Link(0, GENESIS) if result.at_head else result.last
        logger.info("Log of staff: checked to %s", result.last)

    LogCheck.objects.update_or_create(
        id=1,
        defaults={
            "seq": next_link.seq,
            "hash": next_link.hash,
            "checked_at": timezone.now(),
            "fault": fault,
        },
    )
    return len(result.faults)
