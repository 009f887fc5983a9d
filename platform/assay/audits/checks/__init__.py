"""Checks of the audit itself: one file is one check, named as the file."""
