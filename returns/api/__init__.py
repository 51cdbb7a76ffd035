"""The REST API of returns and goodwill."""
