"""The stage that attacks: a suite of threat models against one detector on test images."""
