"""Files for people that `init` puts on every medium: README, the format, the single-file reader."""
