"""Where weights start; one module an initialiser."""
