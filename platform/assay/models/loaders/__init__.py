"""How a detector comes back from its model folder: one file is one kind of folder, named in the manifest as `kind`.

A loader is a function (manifest, content) -> nn.Module, images (B, C, H, W) -> scores (B,), higher is more anomalous.
Its module states FILE, the file of the folder whose bytes `content` are (None: there is none), and, where detectors of
that kind come from outside as a file, SUFFIX, how such a file ends. Nothing is ever unpickled.
"""
