"""Two releases of the order saga, as a rolling deployment runs them side by side.

The earlier one labels the stock before it is reserved. The later one removes that step, adds a step
that packs, and renames `inventory.ship`. Each release knows no step that only the other one has.
"""
