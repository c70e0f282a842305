"""Pictures of Datasets, also of files loaded years later."""
