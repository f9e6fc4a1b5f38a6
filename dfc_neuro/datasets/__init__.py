"""What a network is trained on; one module a dataset."""
