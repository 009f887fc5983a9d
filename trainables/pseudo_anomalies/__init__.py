"""Pseudo-anomalies: one file is one way to make an anomalous image from a normal one, named as the file."""
