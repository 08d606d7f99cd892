"""One module a verb: `add` declares its flags, `run` calls `kluis` and prints."""
