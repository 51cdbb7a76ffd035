"""Remove the run directory: `python3 -m tools.local.clean`. Standard library only: there may be no
virtualenv any more.
"""

import sys

from tools.local.errors import LocalError
from tools.local.rundir import RunDir

if __name__ == "__main__":
    try:
        RunDir().remove()
    except LocalError as error:
        sys.exit(str(error))
