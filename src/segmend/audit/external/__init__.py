"""Evidence from the probabilities of other programs: found, verified, and laid on the labels."""
