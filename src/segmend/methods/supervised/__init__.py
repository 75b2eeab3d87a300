"""Baselines that trust every label."""
