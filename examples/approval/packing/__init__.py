"""The second service of the example, an ordinary Django app: it packs an order."""
