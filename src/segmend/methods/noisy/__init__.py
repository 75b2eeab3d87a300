"""Methods for noisy labels whose individual quality is unknown."""
