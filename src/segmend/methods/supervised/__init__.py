"""Baselines that believe every label."""
