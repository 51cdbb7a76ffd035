"""A database backend for the services that a process does not serve. Any query raises an error."""
