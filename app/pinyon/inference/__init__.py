"""Machine-learning models: the catalogue of names, and the backends that compute."""
