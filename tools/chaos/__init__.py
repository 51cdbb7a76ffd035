"""The fault soak: kill processes of the whole system while it serves load over HTTP.

It also breaks databases as bad releases do, and deploys another release under load. The soak
imports nothing of the service. It sees HTTP, the database and the processes. Only
`tools.chaos.releases` imports the service: its modules are the other releases.
"""
