"""Methods for few expert labels and scans without any."""
