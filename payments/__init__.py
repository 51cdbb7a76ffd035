"""Payments: one charge for each order through a gateway, and its refund.

No step relies on a gateway's answer arriving: a lost answer is looked up under the charge's key.
"""
