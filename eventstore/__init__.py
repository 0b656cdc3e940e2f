"""The log: a conditional segment store, its one owner, and what reads it."""
