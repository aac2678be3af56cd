"""What a scan makes of what it sees, as values: which files are taken, what has changed, what it is called. Pure."""
