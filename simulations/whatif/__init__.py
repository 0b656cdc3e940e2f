"""A day of a real campaign, run again in the simulated world with other settings, and compared."""
