"""The fault soak: kill processes of the whole system while it serves load over HTTP.

The soak imports nothing of the service. It sees HTTP, the database and the processes.
"""
