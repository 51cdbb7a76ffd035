"""Remove the run directory: `python3 -m tools.local.clean`.

It needs only the standard library, because the virtual environment may be gone.
"""

import sys

from tools.local.errors import LocalError
from tools.local.rundir import RunDir

if __name__ == "__main__":
    try:
        RunDir().remove()
    except LocalError as error:
        sys.exit(str(error))
