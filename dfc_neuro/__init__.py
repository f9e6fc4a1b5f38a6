"""A biophysical multi-compartment neuron simulator: pyramidal neurons that learn by feedback."""

__version__ = "0.1.0"
