"""Locks in object storage, which has none."""
