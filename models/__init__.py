"""What is simulated: cells, synapses, controllers, rules and circuits, as TOML files."""
