"""Data sets in layouts of other programs and challenges, read where they lie and written as data folders."""
