"""What Assay does with detectors of other libraries, for its loaders and for trainables alike."""
