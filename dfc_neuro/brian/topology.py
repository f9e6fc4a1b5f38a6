"""Where the units of a circuit lie, which of them are connected, and with what weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dfc_neuro import registry
from dfc_neuro.brian.scheme import Scheme
from dfc_neuro.errors import EngineError
from dfc_neuro.files.units import quantity
from dfc_neuro.initialisers._shape import Place

Array = np.ndarray
BLOCK = 4_000_000  # pairs that are drawn at a time
POSITIONS = 1_000_000  # key of the seeds of positions, beyond those of the projections


def positions(populations: Mapping, seeds: np.random.SeedSequence, where: str) -> dict[str, Array]:
    """Return where the units of each population with an `extent` lie.

    Parameters
    ----------
    populations : dict of Population
    seeds : SeedSequence
    where : str
        The circuit, for messages.

    Returns
    -------
    dict of (n, axes)
        Metres, uniform within the extent.
    """
    found = {}
    for k, (name, population) in enumerate(populations.items()):
        if population.extent:
            sides = [quantity(s, f"{where}: populations.{name}.extent").value
                     for s in population.extent]
            rng = _rng(seeds, POSITIONS + k)
            found[name] = rng.random((population.n, len(sides))) * sides
    return found


def draw(projection, k: int, sizes: tuple[int, int], places: tuple[Array | None, Array | None],
         earlier: Mapping[str, Array], seeds: np.random.SeedSequence, where: str
         ) -> tuple[Array, Array, Array]:
    """Return target units, source units and weights of the synapses of a projection.

    Parameters
    ----------
    projection : Projection
    k : int
        Its number, which its random numbers belong to.
    sizes : (n_to, n_from)
    places : (positions of the target, of the source)
    earlier : dict of projection to (synapses,)
        Weights that were drawn before.
    seeds : SeedSequence
    where : str
        For messages.
    """
    rng = _rng(seeds, k)
    same = projection.from_.partition(".")[0] == projection.to.partition(".")[0]
    post, pre = _pairs(projection.connect, *sizes, places, same, rng, where)
    w = projection.w
    if isinstance(w, dict) and "like" in w:
        like = earlier[w["like"]]
        if w.get("transpose"):
            like = like.reshape(sizes[1], sizes[0]).T.ravel()
        return post, pre, w.get("times", 1) * like
    return post, pre, _weights(w, *sizes, post, pre, rng, where)


def _rng(seeds: np.random.SeedSequence, k: int) -> np.random.Generator:
    return np.random.default_rng(
        np.random.SeedSequence(seeds.entropy, spawn_key=(*seeds.spawn_key, k)))


def _pairs(connect, n_to: int, n_from: int, places: tuple[Array | None, Array | None], same: bool,
           rng: np.random.Generator, where: str) -> tuple[Array, Array]:
    if connect == "one_to_one":
        if n_to != n_from:
            raise EngineError(f"{where}.connect", f"one_to_one between {n_from} and {n_to} units",
                              "write \"all\"")
        return np.arange(n_to), np.arange(n_to)
    if connect == "all":
        post, pre = np.indices((n_to, n_from)).reshape(2, -1)
        return post, pre
    alone = same and not connect.get("autapses", True)
    if "in_degree" in connect:
        degree = connect["in_degree"]
        pre = np.concatenate([rng.choice(n_from - alone, degree, replace=False)
                              for _ in range(n_to)])
        post = np.repeat(np.arange(n_to), degree)
        return post, pre + (alone & (pre >= post))  # leaves out the unit itself
    posts, pres = [], []
    rows = max(1, BLOCK // n_from)
    for first in range(0, n_to, rows):
        block = np.arange(first, min(first + rows, n_to))
        chance = connect["probability"] * _profile(connect, block, places)
        post, pre = np.nonzero(rng.random((len(block), n_from)) < chance)
        keep = (post + first != pre) if alone else slice(None)
        posts.append(post[keep] + first)
        pres.append(pre[keep])
    return np.concatenate(posts), np.concatenate(pres)


def _profile(connect: Mapping, block: Array, places: tuple[Array | None, Array | None]
             ) -> Array | float:
    """Return by how much the distance lowers the chance of a synapse, (targets, n_from)."""
    if "distance" not in connect:
        return 1.0
    to, source = places
    assert to is not None and source is not None
    d = np.linalg.norm(to[block, None] - source, axis=2) / quantity(connect["length"], "").value
    return np.exp(-d) if connect["distance"] == "exponential" else np.exp(-0.5 * d**2)


def _weights(w, n_to: int, n_from: int, post: Array, pre: Array, rng: np.random.Generator,
             where: str) -> Array:
    if isinstance(w, int | float):
        return np.full(len(post), float(w))
    name = w["name"] if isinstance(w, dict) else w
    if name == "weight_product" or (isinstance(w, dict) and len(w) > 1):
        raise EngineError(f"{where}.w", f"'{w}' is drawn by learning experiments only",
                          "write a number or another initialiser")
    initialiser = registry.get("initialisers", name, f"{where}.w")
    return initialiser.draw(Place(n_to, n_from), rng)[post, pre]




def store(parts: Sequence[tuple[Sequence[int], Scheme]], labels: Sequence[str], writer) -> None:
    """Put what was drawn into the result file: ``connections/NAME`` and ``positions/NAME``.

    Connections have ``pre``, ``post`` and ``w`` (synapse) where all conditions have the same ones;
    else (condition, synapse), filled up with -1 and NaN.

    Parameters
    ----------
    parts : list of (conditions, Scheme)
        Which conditions run on which scheme, w of a link being (conditions, synapses).
    labels : list of str
        Of all conditions.
    writer : results.Writer
    """
    first = parts[0][1]
    for name, places in first.positions.items():
        writer.put(f"positions/{name}/position", places, ("unit", "axis"), "metre")
    for k, link in enumerate(first.links):
        if link.target in first.controllers:
            continue
        longest = max(len(scheme.links[k].pre) for _, scheme in parts)
        found = {"pre": np.full((len(labels), longest), -1, np.int32),
                 "post": np.full((len(labels), longest), -1, np.int32),
                 "w": np.full((len(labels), longest), np.nan)}
        for conditions, scheme in parts:
            own = scheme.links[k]
            for variable, values in found.items():
                values[list(conditions), : len(own.pre)] = getattr(own, variable)
        same = all(np.array_equal(v, np.broadcast_to(v[:1], v.shape), equal_nan=v.dtype == float)
                   for v in found.values())
        for variable, values in found.items():
            where = f"connections/{link.name}/{variable}"
            if same:
                writer.put(where, values[0], ("synapse",), "1")
            else:
                writer.put(where, values, ("condition", "synapse"), "1",
                           {"condition": list(labels)})
