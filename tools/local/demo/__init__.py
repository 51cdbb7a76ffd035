"""The demo: two hundred orders over HTTP, a worker killed in the middle, and what came of it
all.
"""
