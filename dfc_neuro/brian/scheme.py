"""What is to be built: populations, controllers and the links between them, free of Brian2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dfc_neuro.files.schema import Cell, Controller, Rule, Synapse
from dfc_neuro.files.units import DIMENSIONLESS, Quantity

Array = np.ndarray
ONE = Quantity(1.0, DIMENSIONLESS, "1")


@dataclass(frozen=True)
class Link:
    """Synapses from an observable of one node to a socket of another.

    Parameters
    ----------
    name, source, reads, target, socket : str
        ``reads`` is an observable or a state of the source, or "spikes"; ``socket`` a compartment
        of a cell, or a variable that a controller reads.
    pre, post : int (synapses,)
        Indices within the source and the target.
    w : (synapses,) or (replicas, synapses)
        Initial weights.
    synapse, rule : Synapse, Rule or None
        Files.
    transmits : bool
        False for a synapse under test that carries a rule but no current.
    scale : Quantity
        What w = 1 means.
    delay : float
        Seconds; for spikes.
    bias : bool
        The bias of the target learns with this link.
    where : str
        Place in the user's file.
    release : Synapse or None
        Short-term plasticity, the file of what multiplies the weight of a spike.
    """

    name: str
    source: str
    reads: str
    target: str
    socket: str
    pre: Array
    post: Array
    w: Array
    synapse: Synapse | None = None
    rule: Rule | None = None
    transmits: bool = True
    scale: Quantity = ONE
    delay: float = 0.0
    bias: bool = False
    where: str = ""
    release: Synapse | None = None


@dataclass(frozen=True)
class Scheme:
    """Nodes by name, with their sizes, and links in the order in which they were declared.

    ``sources`` are "rate" or "spikes"; ``cells`` and ``controllers`` hold models of the files;
    ``positions`` (n, axes) are those of the nodes that have an extent, in metres.
    """

    cells: Mapping[str, Cell] = field(default_factory=dict)
    controllers: Mapping[str, Controller] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    positions: Mapping[str, Array] = field(default_factory=dict)
