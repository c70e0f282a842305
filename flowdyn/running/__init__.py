"""Running: what ``solve`` does, from a start and a list of times to a labelled Dataset."""
