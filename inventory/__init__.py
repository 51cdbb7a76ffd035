"""Stock: reserved for an order while its saga runs, then shipped or released. Never oversold."""
