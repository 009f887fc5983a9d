"""Pseudo-anomalies: each file is one way to turn a normal image into an anomalous one, and carries its name."""
