"""Attacks on the raw anomaly score, one per file; the file name is the attack's name."""
