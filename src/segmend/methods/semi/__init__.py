"""Methods for few expert labels and unlabelled scans."""
