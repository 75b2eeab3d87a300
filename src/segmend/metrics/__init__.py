"""How good a segmentation is: overlap, surface distances, scores of cases, and whether a difference is one."""
