"""How a restore reads frames and writes files; used by `restore` alone."""
