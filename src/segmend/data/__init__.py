"""Readers, checks, preprocessing and sampling of scans and labels."""
