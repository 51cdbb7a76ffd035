"""An example service: trips, whose steps a test controls, so that it tests the engine alone."""
