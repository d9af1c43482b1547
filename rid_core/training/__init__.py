"""Training a defender: configuration, data, loop."""
