"""What happens to one batch, and when rules are read; one module a method."""
