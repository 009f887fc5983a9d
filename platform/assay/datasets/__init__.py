"""Datasets and folder layouts, one per file; the file name is the dataset's name."""
