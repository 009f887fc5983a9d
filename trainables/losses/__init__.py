"""Training losses, one per file; the file name is the loss's name."""
