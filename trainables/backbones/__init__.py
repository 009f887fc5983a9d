"""Backbones (feature extractors), one per file; the file name is the backbone's name."""
