"""Methods for labels of which nobody knows which ones can be trusted."""
