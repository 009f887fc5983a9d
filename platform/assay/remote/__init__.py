"""Folders of images in object storage: brought to this machine, and sent there."""
