"""The ledger is durable and complete, and clients can read it page by page."""

from concurrent.futures import ThreadPoolExecutor

from tests.sandbox.process import Sandbox, running


def test_the_ledger_is_read_page_by_page_oldest_first() -> None:
    with running() as sandbox:
        made = [sandbox.charge(metadata={"order_id": f"o-{number}"}) for number in range(5)]
        sandbox.client.v1.refunds.create({"payment_intent": made[0].id})
        entries, after, more = [], 0, True
        while more:
            page = sandbox.http.get("/sandbox/ledger", params={"after": after, "limit": 2}).json()
            entries += page["data"]
            after, more = entries[-1]["seq"], page["has_more"]

        assert [(entry["kind"], entry["order_id"]) for entry in entries] == [
            *(("capture", f"o-{number}") for number in range(5)),
            ("refund", "o-0"),
        ]
        assert sandbox.http.get("/sandbox/ledger", params={"limit": 0}).status_code == 400
        assert sandbox.http.get("/sandbox/ledger", params={"after": "x"}).status_code == 400


def test_fifty_concurrent_charges_are_all_in_the_ledger(sandbox: Sandbox) -> None:
    def charge(number: int) -> str:
        return str(
            sandbox.charge(key=f"concurrent {number}", metadata={"order_id": "o-concurrent"}).id
        )

    with ThreadPoolExecutor(50) as pool:
        ids = list(pool.map(charge, range(50)))

    assert {
        entry["payment_intent"] for entry in sandbox.ledger() if entry["order_id"] == "o-concurrent"
    } == set(ids)
    assert len(set(ids)) == 50


def test_a_killed_sandbox_loses_no_answered_charge() -> None:
    with running() as sandbox, ThreadPoolExecutor(8) as pool:
        answered: list[str] = []

        def charge(number: int) -> None:
            intent = sandbox.charge(key=f"key {number}", metadata={"order_id": f"o-{number}"})
            answered.append(intent.id)
            if len(answered) == 40:
                sandbox.process.kill()

        attempts = [pool.submit(charge, number) for number in range(120)]
        assert {attempt.exception() is None for attempt in attempts} == {True, False}
        before = set(answered)
        assert len(before) >= 40
        sandbox.start()
        again = {
            sandbox.charge(key=f"key {number}", metadata={"order_id": f"o-{number}"}).id
            for number in range(120)
        }
        captured = [entry["payment_intent"] for entry in sandbox.ledger()]
        assert before <= again == set(captured)
        assert len(captured) == 120


def test_the_fault_rules_and_the_clock_survive_a_kill() -> None:
    with running() as sandbox:
        sandbox.fault("payment_intents.*", "500_lost", times=3)
        sandbox.control("clock", advance=100_000)
        ahead = sandbox.http.get("/sandbox/clock").json()["ahead"]
        sandbox.process.kill()
        sandbox.start()
        assert sandbox.http.get("/sandbox/clock").json()["ahead"] == ahead
        assert [rule["times"] for rule in sandbox.http.get("/sandbox/faults").json()["data"]] == [3]
