"""A module for each family of layers; each registers its functions with `registry.layer`."""
