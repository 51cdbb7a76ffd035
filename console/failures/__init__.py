"""Steps that fail, grouped by error, and what operators did about each group."""
