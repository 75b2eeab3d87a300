"""The page of an audit: one file, no network."""
