"""Complete probabilistic programs: a NumPyro model and its functional, one file each."""
