"""The page of one saga: its rows in all services, its diagram, its export."""
