"""The release before the deployment."""
