"""Benchmarks: side by side in one run, as ratios, compilation apart."""
