"""A silent outside system on real workers: it gets one call at a time, and the sagas of another one
never wait for it.
"""

import pytest

from tests.broker import empty
from tests.processes import beat, until, worker
from tests.trips.harness import begin
from tests.trips.models import Hold, Inbox, Outbox, Trip

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.faults,
]

QUICK = {"OUTBOX_FLUSH_SECONDS": "0.2"}
PAY = "trips.pay"


def probes(bank):
    """Return how many trips have tried a bank on hold, or None if it is not on hold."""
    return Hold.objects.filter(calling_step=PAY, destination=bank).values_list("probes").first()


def calls(folder, bank):
    """Return the trip of each call of a bank, in order."""
    return (folder / f"calls of {bank}").read_text().split()


def paid(trips):
    return Inbox.objects.filter(step=PAY, saga__in=trips, state="done").count()


def test_a_silent_bank_gets_probes_only_and_another_bank_is_paid_without_a_wait(tmp_path):
    empty()
    silence = tmp_path / "acme is silent"
    silence.touch()
    # The messages of both banks are in the same batches, from the first call on.
    names = [f"ask {bank} in {tmp_path}" for _ in range(15) for bank in ("acme", "best")]
    trips = begin(names=names)
    stopped, going = trips[::2], trips[1::2]
    more = ["--pool", "prefork", "--concurrency", "2"]
    with (
        worker("trips", environ=QUICK, more=more) as process,
        worker("trips", environ=QUICK, more=more),
        beat(environ=QUICK),
    ):
        until(lambda: probes("acme"), "the silent bank is on hold", process=process)
        until(lambda: paid(going) == len(going), "the other bank is paid", process=process)
        until(lambda: probes("acme") >= (1,), "a trip tries", process=process)

        (tried_before,), asked_before = probes("acme"), len(calls(tmp_path, "acme"))
        later = begin(names=[f"ask {bank} in {tmp_path}" for bank in ("acme", "best") * 15])
        stopped, going = [*stopped, *later[::2]], [*going, *later[1::2]]
        until(lambda: paid(going) == len(going), "the later trips are paid", process=process)
        until(lambda: probes("acme") >= (tried_before + 3,), "trips take turns", process=process)

        asked = len(calls(tmp_path, "acme")) - asked_before
        (tried,) = probes("acme")
        assert asked <= tried - tried_before + 1  # a trip may have been trying before
        assert paid(stopped) == 0
        assert list(Hold.objects.values_list("step", "destination")) == [(None, "acme")]
        until(
            lambda: (
                Inbox.objects.filter(step=PAY, saga__in=stopped, state="held").count()
                >= len(stopped) - 1
            ),
            "all trips of the silent bank but the probe wait",
        )

        silence.unlink()
        until(lambda: paid(stopped) == len(stopped), "the bank answers", process=process)
        until(lambda: probes("acme") is None, "the hold is released", process=process)
        until(lambda: not Trip.objects.filter(ended_at=None).exists(), "all trips have ended")

    held = set(Outbox.objects.filter(type="saga.on_hold").values_list("saga", flat=True))
    assert held <= set(stopped)
    assert not Trip.objects.filter(needs_attention=True).exists()
    assert not Inbox.objects.filter(state="refused").exists()
