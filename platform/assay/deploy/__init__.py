"""A detector on the line: exported as one file that does all but decoding, and applied to image files."""
