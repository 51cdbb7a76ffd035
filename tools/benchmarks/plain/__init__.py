"""What the service is measured against: the naive shop with its connections kept, and a view
that only inserts.
"""
