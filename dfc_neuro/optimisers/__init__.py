"""How an update becomes a change of parameters; one module an optimiser."""
