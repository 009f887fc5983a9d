"""This process and this machine: memory, GPU, versions, provenance, retries."""
