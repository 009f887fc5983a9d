"""Sections of a search space about the search itself."""
