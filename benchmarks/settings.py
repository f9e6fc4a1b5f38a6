"""Print what other settings of the network and other rules cost beside the published ones.

``python benchmarks/settings.py [--quick] [--dtype float64]``: the same number of time steps, in
turns: delayed transmission, slow apical compartments, noise; and rules compiled from their text,
beside the published one as it is written into the kernel.  Ratios of time, that being 1.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from dfc_neuro.bench import Case, Row
from dfc_neuro.bench._work import limits
from dfc_neuro.rates import _dynamics, threads
from dfc_neuro.rates.compile import compile_rule
from dfc_neuro.rates.losses import cross_entropy
from dfc_neuro.rates.network import forward
from dfc_neuro.rates.simulate import simulate

REPEATS = 5
SETTINGS = {
    "published": {},
    "delayed transmission": {"transmission": "delayed"},
    "slow apical compartment": {"tau_A": 0.2},
    "both": {"transmission": "delayed", "tau_A": 0.2},
    "noise": {"sigma": 0.01, "sigma_output": 0.01},
    "noise, slow apical compartment": {"sigma": 0.01, "sigma_output": 0.01, "tau_A": 0.2},
}
RULES = {  # dw/dt and db/dt
    "published, from its file's text":
        ("2*(rate_post - prediction_post)*rate_pre", "2*(rate_post - prediction_post)"),
    "voltage difference": ("2*(v_soma_post - v_basal_post)*rate_pre", "2*mismatch_post"),
    "Oja": ("rate_post*rate_pre - rate_post**2*w", "mismatch_post"),
    "soft bound": ("(1 - w)*mismatch_post*rate_pre", "mismatch_post"),
    "two presynaptic factors": ("mismatch_post*(rate_pre + 0.1*tanh(rate_pre))", "mismatch_post"),
    "no sum of products": ("tanh(mismatch_post*rate_pre - w)", "mismatch_post"),
    "two products": ("mismatch_post*rate_pre + 0.1*apical_post*tanh(rate_pre)", "mismatch_post"),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer time steps")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    chosen = parser.parse_args()
    T, dtype = 60 if chosen.quick else 500, np.dtype(chosen.dtype)
    case = Case()
    net, x, labels = case.draw()
    net = net.astype(dtype)
    fwd = forward(net, x.astype(dtype))
    delta = dtype.type(-case.nudge) * cross_entropy(fwd.r[-1], labels)[1]
    published = replace(case.control, steps=T)
    rules = {name: compile_rule(f"dw/dt = {synapse} : 1", f"db/dt = {bias} : 1", {}, name)
             for name, (synapse, bias) in RULES.items()}
    # the rule that the source of the kernels is written with: no text goes into it
    written = replace(next(iter(rules.values())), module=_dynamics, names=(), parameters=())
    jobs = {name: (replace(published, **keys), written) for name, keys in SETTINGS.items()}
    jobs |= {f"rule: {name}": (published, kernel) for name, kernel in rules.items()}
    best = dict.fromkeys(jobs, np.inf)
    for count in range(REPEATS + 1):
        for name, (control, kernel) in jobs.items():
            with limits(case, Row("dfc", threads.available(), "euler")):
                start = time.perf_counter()
                simulate(net, control, fwd, delta, rule=kernel, seed=0)
                taken = time.perf_counter() - start
            if count:  # the first is the warm-up
                best[name] = min(best[name], taken)
    for name, taken in best.items():
        print(f"{name}: {taken / best['published']:.2f}  ({1e3 * taken:.0f} ms)")


if __name__ == "__main__":
    main()
