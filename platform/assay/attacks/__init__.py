"""Attacks on the raw anomaly score: one file is one attack, named as the file."""
