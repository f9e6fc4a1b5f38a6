"""The order in which sums over synapses are evaluated within a step: along the signal path."""

from __future__ import annotations

from collections.abc import Mapping

import brian2 as b2

from dfc_neuro.brian.scheme import Link
from dfc_neuro.brian.text import reached
from dfc_neuro.brian.wiring import Wiring


def signal_path(links: Mapping[str, Link], equations: Mapping[str, b2.Equations],
                wirings: Mapping[str, Wiring]) -> list[str]:
    """Return the summed links, each after those that it needs in the same instant.

    A link needs another one if what it reads depends on the other's sum through subexpressions,
    not through a state.  In a loop of such links, the one declared first reads the sum of the
    step before.

    Parameters
    ----------
    links : dict of Link
    equations : dict of Equations
        Of the nodes, composed.
    wirings : dict of Wiring
        Of the links.

    Returns
    -------
    list of str
    """
    summed = {name for name in links if wirings[name].summed}
    needs: dict[str, set[str]] = {}
    for name in summed:
        link = links[name]
        if link.source not in equations:
            needs[name] = set()
            continue
        read = reached(equations[link.source], link.reads)
        needs[name] = {other for other in summed if links[other].target == link.source
                       and wirings[other].symbol in read}
    done: list[str] = []
    open_links: list[str] = []

    def visit(name: str) -> None:
        if name in done or name in open_links:
            return
        open_links.append(name)
        for other in links:
            if other in needs[name]:
                visit(other)
        open_links.remove(name)
        done.append(name)

    for name in links:
        if name in summed:
            visit(name)
    return done
