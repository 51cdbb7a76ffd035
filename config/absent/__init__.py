"""A database backend for a service that a process does not serve: whoever asks for its data gets
a clear error.
"""
