"""Tokens, roles, permissions and rate limits."""
