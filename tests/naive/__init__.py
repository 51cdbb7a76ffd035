"""The baseline: orders as a Celery chain that is sent on commit, without outbox and inbox.

It loses orders under faults.
"""
