"""Payments: one charge per order through a gateway, and its refund; the gateway is never trusted
to answer.
"""
