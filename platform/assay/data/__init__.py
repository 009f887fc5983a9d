"""Images from disk: decoding, splits, caching."""
