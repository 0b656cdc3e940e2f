"""Random orders of commands at the production engine, in virtual time, judged by the requirements."""
