"""What is measured while a network learns; one module a diagnostic."""
