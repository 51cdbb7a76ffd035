"""Charts draw the counted values, inside of the drawing."""

from datetime import UTC, datetime, timedelta

from backoffice.dashboard.order_charts import durations_chart, endings_chart
from backoffice.dashboard.throughput import Bucket, Throughput

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def found(*buckets):
    """Return a throughput of 48 minutes, the last of which are these: fulfilled, cancelled, p50
    and p95.
    """
    empty = [(0, 0, None, None)] * (48 - len(buckets))
    return Throughput(
        width=timedelta(minutes=1),
        buckets=tuple(
            Bucket(
                since=NOON + timedelta(minutes=number),
                fulfilled=done,
                cancelled=off,
                p50=p50,
                p95=p95,
            )
            for number, (done, off, p50, p95) in enumerate([*empty, *buckets])
        ),
    )


def test_bars_stand_on_each_other_in_proportion():
    chart = endings_chart(found((30, 10, 1.0, 2.0)))
    done, off = chart.bars
    assert (done.kind, off.kind) == ("fulfilled", "cancelled")
    assert off.y + off.height == done.y
    assert round(done.height / off.height, 1) == 3.0
    assert done.title == "12:47:00 UTC: 30 fulfilled, 10 cancelled"


def test_the_axis_reaches_just_above_the_highest_bar():
    assert [tick.text for tick in endings_chart(found((130, 0, 1.0, 1.0))).y_ticks] == [
        "0",
        "100",
        "200",
    ]
    assert [tick.text for tick in durations_chart(found((1, 0, 0.2, 0.4))).y_ticks] == [
        "0 s",
        "0.25 s",
        "0.5 s",
    ]


def test_nothing_is_drawn_outside():
    chart = endings_chart(found(*[(number, 1, 1.0, 2.0) for number in range(48)]))
    assert all(chart.left <= bar.x and bar.x + bar.width <= chart.right for bar in chart.bars)
    assert all(bar.y >= 0 and bar.y + bar.height <= chart.height for bar in chart.bars)


def test_a_line_is_broken_where_nothing_ended_and_a_lone_value_is_a_dot():
    p95, p50 = durations_chart(
        found((1, 0, 1.0, 2.0), (1, 0, 1.0, 2.0), (0, 0, None, None), (1, 0, 3.0, 4.0))
    ).lines
    assert (len(p95.pieces), len(p95.dots)) == (1, 1)
    assert (len(p50.pieces), len(p50.dots)) == (1, 1)


def test_charts_of_nothing_say_that_they_are_empty():
    assert endings_chart(found()).empty
    assert durations_chart(found()).empty
