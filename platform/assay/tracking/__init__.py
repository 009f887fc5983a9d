"""The W&B mirror of sweeps and audits."""
