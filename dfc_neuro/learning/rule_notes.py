"""What is said of a rule before a run: its cost where that is high, and digits that it loses."""

from __future__ import annotations

import logging
import math

import numpy as np

from dfc_neuro.datasets._dataset import Split
from dfc_neuro.learning.plan import Phase, RatePhase
from dfc_neuro.learning.trainer import Trainer
from dfc_neuro.rates.averaged import applies
from dfc_neuro.rates.rules import error_in_precision, seconds_by_synapse
from dfc_neuro.rates.steady_state import steady_state

log = logging.getLogger(__name__)
HARMLESS = 1e-5  # relative error of an update that float32 may make


def announce(trainer: Trainer, samples: Split) -> None:
    """Log what a rule of forward weights costs a synapse at a time, and what float32 costs it.

    Parameters
    ----------
    trainer : Trainer
        Before its first pass.
    samples : Split
        The samples that the error is measured on, at the analytic steady state of control.
    """
    plan = trainer.plan
    for phase in {one.phase.name: one.phase for one in plan.passes}.values():
        if phase.learn != "W" or not plan.method.USES_Q or not isinstance(phase, RatePhase):
            continue
        if phase.rule.by_synapse:
            taken = seconds_by_synapse(phase.rule, trainer.net, plan.batch)
            epoch = taken * math.ceil(len(plan.dataset.train) / plan.batch)
            log.warning("phase %s: the rule is no sum of products of pre- and postsynaptic "
                        "factors, so it runs a synapse at a time: about %.2g s a minibatch, "
                        "%.2g s a pass over the data", phase.name, taken, epoch)
        if plan.dtype == np.float32 and not applies(phase.rule):
            _say_digits(trainer, phase, samples)


def _say_digits(trainer: Trainer, phase: Phase, samples: Split) -> None:
    assert isinstance(phase, RatePhase)
    batch, _ = trainer.minibatch(phase, samples, 0)
    net, fwd = batch.net, batch.fwd
    end = steady_state(net, fwd, batch.delta, phase.control.alpha)
    error = error_in_precision(phase.rule, net, fwd, end.x, end.basal, end.apical)
    if not error < HARMLESS:
        log.warning("phase %s: the rule loses %.1f of 7 digits in float32 (its update is off by "
                    "%.1g): it takes the difference of nearly equal numbers; set "
                    'numerics.precision = "float64", or read the difference as mismatch',
                    phase.name, math.log10(error / 2.0**-24), error)
