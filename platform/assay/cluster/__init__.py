"""Ray: joining or starting a cluster, bringing code to its nodes, reading its failures."""
