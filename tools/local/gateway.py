"""Choose the payment gateway of a run directory.

A run directory keeps its gateway, because another gateway does not know its payments.
"""

import os

from tools.local.errors import LocalError
from tools.local.rundir import RunDir

__all__ = ["GATEWAY", "choose_gateway"]

GATEWAY = "PAYMENT_GATEWAY"
# Stripe's client. It talks to the sandbox unless the user names an account.
DEFAULT = "stripe"
# The gateway of run directories that name none, as older versions wrote them.
UNRECORDED = "simulated"


def choose_gateway(run_dir: RunDir) -> None:
    """Set PAYMENT_GATEWAY: the run directory's gateway, else the user's, else the default.

    Without PAYMENT_GATEWAY from the user, the STRIPE_ variables are removed, so that no demo uses
    a Stripe account by accident. Raises LocalError if the user names a gateway other than the run
    directory's.
    """
    named = os.environ.get(GATEWAY)
    kept = run_dir.read_env().get(GATEWAY, UNRECORDED) if run_dir.env_file.exists() else None
    if named and kept and named != kept:
        raise LocalError(
            f"The payments in {run_dir.path} were made with {GATEWAY}={kept}. "
            f"The gateway {named!r} does not know them. "
            f"Unset {GATEWAY}, choose another RUN_DIR, or delete the data with `make clean`."
        )

    if not named:
        os.environ[GATEWAY] = kept or DEFAULT
        for variable in [name for name in os.environ if name.startswith("STRIPE_")]:
            del os.environ[variable]
