"""The demo: place 200 orders over HTTP, kill a worker meanwhile, and check the result."""
