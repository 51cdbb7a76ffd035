"""The release that is deployed."""
