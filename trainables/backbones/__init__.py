"""Backbones: one file is one feature extractor, named as the file."""
