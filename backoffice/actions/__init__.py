"""The operator actions that know the money and the stock of orders."""
