"""Formats of exported files, one per module: how a graph is written, and how the file is run to be compared."""
