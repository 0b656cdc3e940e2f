"""Black-box tests of the whole service over HTTP, with the PBX simulated on a socket."""
