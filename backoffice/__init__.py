"""The shop's pages in the console: orders and their money, stock, users, and the order figures.

The console knows no service. This app adds what only the shop knows, through the registries of the
console.
"""
