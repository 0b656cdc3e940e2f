"""The HTTP surface, black-box."""
