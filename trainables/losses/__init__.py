"""Training losses: one file is one loss, named as the file."""
