"""Health checks and the metrics of Prometheus."""
