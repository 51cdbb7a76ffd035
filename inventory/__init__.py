"""Stock: never oversold, held for an order while its saga runs, then shipped or given back."""
