"""The benchmark behind `make bench`.

It compares the service with bare SQL, a naive Celery chain, and a view that only inserts.
"""
