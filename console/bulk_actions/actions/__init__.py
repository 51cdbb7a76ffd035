"""The operator actions, one file each."""
