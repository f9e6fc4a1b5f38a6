"""What is done to a model: recordings and learning experiments, as TOML files."""
