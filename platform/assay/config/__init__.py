"""What people write in YAML: search spaces and their rules, read with every fault at once."""
