"""Synthetic phantoms and the end-to-end demonstration."""
