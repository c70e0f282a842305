"""Results: arrays to labelled Datasets, recipes of how they were made, files."""
