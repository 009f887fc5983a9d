"""YAML files: search spaces and their rules, read so that every fault is reported at once."""
