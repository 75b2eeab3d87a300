"""What every other package stands on: cases, masks, grids, configuration, errors, files and progress."""
