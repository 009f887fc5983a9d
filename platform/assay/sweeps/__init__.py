"""Training: runs a search space as trials on Ray Tune."""
