"""Benchmarks: a baseline and ours, alternating in one run, as ratios."""
