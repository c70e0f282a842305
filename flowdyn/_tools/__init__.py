"""Tools that know nothing of training: compilation, random numbers, files, registries."""
