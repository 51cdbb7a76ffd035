"""Errors that differ in ids, times and numbers only are one failure."""

from sagas.observability.error_pattern import failure_id, normalize


def test_errors_that_differ_in_ids_times_and_numbers_only_are_one():
    first, second = (
        f"Charge ch_01a20d3407fa7788829e662d5c99af{n}c of order"
        f" 01a20d34-06e3-7766-b1cd-a990d375f7f{n} failed after {n}.5 s"
        f" at 2026-11-24 10:57:2{n}.97+00"
        for n in (3, 4)
    )
    assert (
        normalize(first)
        == normalize(second)
        == "Charge {id} of order {id} failed after {n} s at {time}"
    )


def test_errors_that_say_something_else_are_two():
    assert normalize("The gateway answered 500.") != normalize(
        "The gateway did not answer in time."
    )


def test_the_same_error_of_another_step_or_state_is_another_failure():
    ids = {
        failure_id("Boom", task="sagas.run_step", step="payments.charge"),
        failure_id("Boom", task="sagas.run_step", step="payments.refund"),
        failure_id("Boom", task="sagas.fail_step", step="payments.charge"),
        failure_id("Boom", task="sagas.run_step", step="payments.charge", state="RETRY"),
    }
    assert len(ids) == 4
