"""The benchmark behind `make bench`: how fast sagas end, beside bare SQL, a naive Celery chain
and a bare view.
"""
