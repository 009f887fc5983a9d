"""Samplers, which propose what a sweep tries next: Optuna's, made anew for every trial."""
