"""The real thing: the engine as a process, a real Asterisk, a real store, and all of them killed at moments nobody chose."""
