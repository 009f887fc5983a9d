"""Loaders rebuild a detector from its model folder, one per file; the manifest names the loader as `kind`.

A loader is a function (manifest, content) -> nn.Module, images (B, C, H, W) -> scores (B,), higher is more anomalous.
Its module sets FILE, the file of the folder whose bytes are `content` (None: there is none), and SUFFIX, the suffix of
detector files from outside, where there are any. Nothing is ever unpickled.

Where a detector's file may need others, the module also sets SIDES, a function (content, its file name) -> name in the
model folder (`*.bin`) -> name of the file beside the detector. Its loader takes their bytes, by their names in the
model folder, as a third argument.
"""
