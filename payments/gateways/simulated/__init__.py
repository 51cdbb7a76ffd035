"""The simulated gateway: moves no money, but keeps a ledger as a real gateway would."""

from payments.gateways.simulated.gateway import SimulatedGateway

__all__ = ["SimulatedGateway"]
