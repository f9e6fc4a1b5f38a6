"""Plasticity rules."""
