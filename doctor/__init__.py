"""Proves that this process's servers, workers and settings are fit for production."""
