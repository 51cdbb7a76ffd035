"""The page of one order: its payment, its partial refunds, and its reservations."""
