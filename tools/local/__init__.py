"""The whole system on one machine: embedded servers, a supervisor and the demo. Knows the
project from outside only.
"""
