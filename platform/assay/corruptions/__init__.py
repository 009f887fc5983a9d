"""Corruptions of images in the field: one file is one corruption, named as the file."""
