"""Where files lie, on disk or in object storage, and how each kind of file is read."""
