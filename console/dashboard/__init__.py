"""The start page, its charts, and the workers of each queue."""
