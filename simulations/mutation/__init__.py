"""How much of the core the tests would miss: each of its lines is altered, and some test must fail."""
