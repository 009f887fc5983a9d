"""What a notebook calls: one function for each verb of the command line."""
