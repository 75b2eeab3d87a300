"""Which cases of an audit to check or annotate next, and what a random sample says about all labels."""
