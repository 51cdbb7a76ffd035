"""The figures and charts of orders and their money on the start page."""
