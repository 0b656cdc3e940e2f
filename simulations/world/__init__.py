"""A world with a clock of its own: the production engine and AMI adapter, the simulated PBX and people, from one seed."""
