"""Sagas as resources of the REST API: what any app with a tracked saga can offer its clients."""
