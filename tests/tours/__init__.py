"""A saga of two services whose steps read the results of others, and one step of it is optional.

A test registers it with the fixture `tour` of `tests.tours.harness`, a worker by `worker_settings`.
"""
