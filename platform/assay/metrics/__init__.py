"""Figures and their intervals, computed from arrays and tables alone."""
