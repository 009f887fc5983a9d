"""Assay: sweep robust image anomaly detectors, audit them under attack, decide whether one may be deployed."""

__version__ = "0.1.0"
