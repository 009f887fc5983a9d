"""Datasets: one file is one dataset (or folder layout), named as the file."""
