"""Through which gateway a run directory pays: kept with its payments, of which another gateway
knows nothing.
"""

import os

from tools.local.errors import LocalError
from tools.local.rundir import RunDir

__all__ = ["GATEWAY", "choose_gateway"]

GATEWAY = "PAYMENT_GATEWAY"
# Stripe's client, and the sandbox in place of Stripe: unless the user says otherwise.
DEFAULT = "stripe"
# What was paid through where nothing is written down of it.
BEFORE = "simulated"


def choose_gateway(run_dir: RunDir) -> None:
    """Set in the environment which gateway to pay through: the kept one, else the one it names,
    else the default.

    Raises LocalError where it names another than the kept one. An account at Stripe counts only for
    who names the gateway as well: nobody pays with it unawares.
    """
    named = os.environ.get(GATEWAY)
    kept = run_dir.read_env().get(GATEWAY, BEFORE) if run_dir.env_file.exists() else None
    if named and kept and named != kept:
        raise LocalError(
            f"The payments in {run_dir.path} were made through {GATEWAY}={kept}, and {named} knows nothing of them. "
            f"Leave {GATEWAY} out, name another RUN_DIR, or start anew with `make clean`."
        )
    if not named:
        os.environ[GATEWAY] = kept or DEFAULT
        for variable in [name for name in os.environ if name.startswith("STRIPE_")]:
            del os.environ[variable]
