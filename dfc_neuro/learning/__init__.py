"""Training a layered network: the plan of a protocol, its passes over the data, its measures."""
