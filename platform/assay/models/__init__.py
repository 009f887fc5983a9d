"""Detectors on disk and in memory: model folders, cards, preflight, images to scores."""
