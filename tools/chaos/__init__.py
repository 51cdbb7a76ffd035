"""The fault soak: the whole system under load over HTTP, while its processes are killed. Knows
it from outside only.
"""
