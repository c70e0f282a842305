"""Sweeps: many runs over a grid of numbers, in one Dataset or in a folder of files."""
