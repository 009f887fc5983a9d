"""Detectors on disk and in memory: model folders, cards, preflight, and scoring."""
