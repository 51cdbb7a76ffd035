"""The whole system on one machine: embedded servers, a supervisor and the demo.

It imports nothing of the service, and starts its programs as a user would.
"""
