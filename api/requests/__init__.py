"""Reading requests: strict JSON and queries, headers, paths and client addresses."""
