"""The page that `assay ui` serves: a store as it is now, read only."""
