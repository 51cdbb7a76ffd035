"""The outage drill: the payment provider hangs while orders come, then fails, then recovers."""
