"""The rules of a gateway for charges in each currency.

The service counts an amount in minor units of ISO 4217. A gateway may count it in other units, in
steps, and between a minimum and a maximum.
"""

from collections.abc import Mapping

from msgspec import Struct

from sagas.currencies import decimal, exponent_of, with_currency

__all__ = ["Currency", "GatewayCurrencies"]


class Currency(Struct, frozen=True, kw_only=True):
    """A gateway's rules for a currency.

    An exponent is the number of decimals of the counted unit: `exponent` is that of ISO 4217. The
    other numbers are in minor units of ISO 4217: a charge must be a multiple of `step`.
    """

    exponent: int
    gateway_exponent: int
    step: int
    minimum: int
    maximum: int


class GatewayCurrencies(Struct, frozen=True, kw_only=True):
    """The currencies of a gateway, by their lower-case codes. `name` is the gateway's, in words."""

    name: str
    table: Mapping[str, Currency]

    def to_gateway(self, amount: int, currency: str) -> int:
        """Return an amount of minor units in the gateway's units.

        Raise ValueError if the gateway's units cannot express it, because money is never rounded.
        """
        rules = self._rules(currency)
        units, rest = divmod(
            amount * _power_of_ten(rules.gateway_exponent), _power_of_ten(rules.exponent)
        )
        if rest:
            shown = with_currency(amount, currency)
            raise ValueError(f"{self.name} has no unit as small as the last digit of {shown}.")
        return units

    def from_gateway(self, units: int, currency: str) -> int:
        """Return an amount of the gateway's units in minor units.

        A part of a minor unit is rounded to the nearest one. Only the gateway could move it.
        """
        rules = self._rules(currency)
        divisor = _power_of_ten(rules.gateway_exponent)
        return (units * _power_of_ten(rules.exponent) + divisor // 2) // divisor

    def reason_not_chargeable(self, amount: int, currency: str) -> str:
        """Return in words why the gateway cannot charge an amount; empty if it can."""
        rules = self.table.get(currency)
        if rules is None:
            return f"{self.name} does not charge in {currency.upper()}."
        if amount < rules.minimum:
            return f"{self.name} charges at least {with_currency(rules.minimum, currency)}."
        if amount > rules.maximum:
            return f"{self.name} charges at most {with_currency(rules.maximum, currency)}."
        if amount % rules.step:
            step = decimal(rules.step, currency)
            return f"{self.name} charges {currency.upper()} only in steps of {step}."
        return ""

    def _rules(self, currency: str) -> Currency:
        """Return the rules of a currency. A currency without rules is counted as in ISO 4217."""
        exponent = exponent_of(currency)
        return self.table.get(currency) or Currency(
            exponent=exponent, gateway_exponent=exponent, step=1, minimum=1, maximum=0
        )


def _power_of_ten(exponent: int) -> int:
    return int(10**exponent)
