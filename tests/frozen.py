"""Keeps all objects that exist now out of the garbage collector.

The process that starts the others imports this module last. A new process then does not search the
libraries for garbage again and again while it imports the project.
"""

import gc

gc.collect()
gc.freeze()
