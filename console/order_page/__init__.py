"""The page of one order: its rows in all services, the diagram of its saga, its export."""
