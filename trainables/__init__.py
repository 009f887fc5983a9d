"""Trainables: each file is one recipe that turns a dataset and a configuration into a detector."""
