"""The pure core: every decision the dialer takes, without clock, chance or I/O."""
