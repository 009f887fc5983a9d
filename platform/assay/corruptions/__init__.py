"""Image corruptions met in the field, one per file; the file name is the corruption's name."""
