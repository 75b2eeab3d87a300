"""The commands: plain typed functions, which are the Python API and the command line alike."""
