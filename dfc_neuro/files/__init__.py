"""The files that users write: found, read, validated, resolved and composed."""
