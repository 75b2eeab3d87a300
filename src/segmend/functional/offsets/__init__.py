"""Boundary offsets: profiles along a surface, estimates, and their shrinkage over cases, annotators and classes."""
