"""Training: batches, the driver of every method, checkpoints, label revisions, run folders, whole scans."""
