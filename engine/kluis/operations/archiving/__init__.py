"""How a backup turns files and directories into chunks; used by `backup` alone."""
