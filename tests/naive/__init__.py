"""The same shop, built the usual way: a Celery chain sent on commit, no outbox and no inbox. It
loses orders.
"""
