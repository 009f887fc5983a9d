"""Cluster files for `ray up`, and the cloud account that each is for: filling one in, looking at what would fail."""
