"""Protocols with everything that changes them put in."""
from dfc_neuro.files.load import validate


def build_protocol(table, path, label):
    """Validate a protocol."""
    return validate(table, path, label)
