"""The rules that make the payment sandbox slow, hanging and failing during a soak."""

from tools.chaos.provider_faults import DEFAULT, ProviderBehaviour, _rules_of


def test_the_default_behaviour_adds_no_rule() -> None:
    assert list(_rules_of(DEFAULT, seed=1)) == []


def test_the_rule_for_slow_calls_comes_last_because_it_takes_every_call() -> None:
    behaviour = ProviderBehaviour(call_ms=300, hanging=2, errors=5)
    rules = list(_rules_of(behaviour, seed=1))

    assert [rule["fault"] for rule in rules] == ["500_lost", "timeout_lost", "slow"]
    assert [rule.get("probability") for rule in rules] == [0.05, 0.02, None]
    assert rules[-1]["seconds"] == 0.3
