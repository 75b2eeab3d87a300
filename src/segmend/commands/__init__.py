"""The commands: plain typed functions, which serve as both the Python API and the command line."""
