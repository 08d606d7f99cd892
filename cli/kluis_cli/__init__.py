"""The command line of kluis: parse, call, print."""
