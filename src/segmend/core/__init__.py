"""The basis of every other package: cases, masks, grids, configuration, errors, files and progress."""
