"""The charts of orders on the start page: how they ended, and how long they took."""

from backoffice.dashboard.throughput import Throughput
from console.dashboard.charts import (
    LEFT,
    Chart,
    Slot,
    line,
    round_up,
    slot_width,
    ticks_of_times,
    ticks_of_values,
    y_of,
)

__all__ = ["durations_chart", "endings_chart"]


def endings_chart(found: Throughput) -> Chart:
    """Chart how many orders ended in each bucket: fulfilled below, cancelled on top."""
    top = round_up(max(bucket.ended for bucket in found.buckets))
    width = slot_width(len(found.buckets))
    bars = []
    for number, bucket in enumerate(found.buckets):
        done = y_of(bucket.fulfilled, top)
        both = y_of(bucket.ended, top)
        title = (
            f"{bucket.since:%H:%M:%S} UTC: {bucket.fulfilled} fulfilled,"
            f" {bucket.cancelled} cancelled"
        )
        slot = Slot(LEFT + number * width, width)
        bars += [
            slot.bar("fulfilled", done, y_of(0, top), title),
            slot.bar("cancelled", both, done, title),
        ]

    fulfilled = sum(bucket.fulfilled for bucket in found.buckets)
    cancelled = sum(bucket.cancelled for bucket in found.buckets)
    return Chart(
        summary=(
            f"{fulfilled} orders fulfilled and {cancelled} cancelled since {_minute(found)} UTC."
        ),
        bars=tuple(bar for bar in bars if bar.height > 0),
        y_ticks=ticks_of_values(top, unit=""),
        x_ticks=ticks_of_times([bucket.since for bucket in found.buckets]),
        empty=not fulfilled + cancelled,
    )


def durations_chart(found: Throughput) -> Chart:
    """Chart how long orders took from placed to ended: p50 and p95."""
    known = [bucket.p95 for bucket in found.buckets if bucket.p95 is not None]
    top = round_up(max(known, default=0))
    last = next((bucket for bucket in reversed(found.buckets) if bucket.p95 is not None), None)
    return Chart(
        summary=(
            f"Of the latest orders, half took at most {last.p50:.1f} s, and 95 % at most"
            f" {last.p95:.1f} s."
            if last
            else ""
        ),
        lines=(
            line("p95", [bucket.p95 for bucket in found.buckets], top),
            line("p50", [bucket.p50 for bucket in found.buckets], top),
        ),
        y_ticks=ticks_of_values(top, unit=" s"),
        x_ticks=ticks_of_times([bucket.since for bucket in found.buckets]),
        empty=not known,
    )


def _minute(found: Throughput) -> str:
    return f"{found.buckets[0].since:%Y-%m-%d %H:%M}"
