"""The outside world: the PBX, the receivers of notifications."""
