"""The shared parts of the REST APIs: problems, auth, requests, responses and monitoring."""
