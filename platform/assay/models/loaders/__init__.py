"""Loaders rebuild a detector from its model folder, one per file; the manifest names the loader as `kind`.

A loader is a function (manifest, content) -> nn.Module, images (B, C, H, W) -> scores (B,), higher is more anomalous.
Its module sets FILE, the file of the folder whose bytes are `content` (None: there is none), and SUFFIX, the suffix of
detector files from outside, where there are any. Nothing is ever unpickled.
"""
