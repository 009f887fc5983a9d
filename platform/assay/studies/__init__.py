"""Studies: detectors x datasets x seeds, and the table that compares them."""
