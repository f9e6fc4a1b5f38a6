"""The rate engine: Numba kernels for minibatches of layered networks."""
