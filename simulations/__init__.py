"""The simulated PBX, scenarios, demonstrations and benchmarks."""
