"""What a rule is put through: the experiments, and the benchmark that it trains a network on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

from dfc_neuro.errors import DfcNeuroError, InputError
from dfc_neuro.files.load import load
from dfc_neuro.files.schema import Rule
from dfc_neuro.processes import started_apart

# protocol: its figure
EXPERIMENTS = {
    "clopath_clamp": "clopath_clamp",
    "stdp_window": "stdp_window",
    "pairing_frequency": "pairing_frequency",
    "burst_pairing": "burst_pairing",
    "triplets": "triplets",
    "heterosynaptic": "heterosynaptic",
    "bac_pairing": "bac_pairing",
    "proximal_distal": "proximal_distal",
    "dendritic_prediction": "dendritic_prediction",
    "dfc_step": "dfc_step",
}
RULE_KEY, LAYERS_KEY = "plastic.test.rule", "projections.W.rule"
BENCHMARK = "quickstart"
OF_RATES = ("dfc_step", BENCHMARK)  # networks of rates: what else runs spikes
SEEDS = {True: 3, False: 5}  # quick or not
ANGLES = ["loss", "error", "angle_bp", "angle_gn", "angle_mn", "angle_ssa"]


@dataclass(frozen=True)
class Task:
    """One run of a rule: a protocol with keys and a seed, to a file."""

    rule: str
    protocol: str
    keys: dict[str, Any]
    seed: int
    quick: bool
    out: str


@dataclass
class Outcome:
    """What became of the tasks of one rule in one protocol."""

    paths: list[str] = field(default_factory=list)
    reason: str = ""  # why there is none


def tasks(rules: dict[str, Rule], cell: str | None, folder: Path, quick: bool
          ) -> tuple[list[Task], dict[tuple[str, str], Outcome]]:
    """Return what can be run, and for what cannot the reason, by rule and protocol.

    Parameters
    ----------
    rules : dict of Rule
    cell : str, optional
        Runs the experiments on this cell instead of the protocols' own.
    folder : Path
        Where result files go.
    quick : bool
        The small size of each protocol.
    """
    made: list[Task] = []
    outcomes: dict[tuple[str, str], Outcome] = {}
    for name, rule in rules.items():
        for protocol in EXPERIMENTS:
            keys: dict[str, Any] = {LAYERS_KEY: str(rule.path)}
            if protocol not in OF_RATES:
                keys = {RULE_KEY: str(rule.path)} | ({"on": cell} if cell else {})
            reason = _refused(protocol, keys, rule, quick)
            outcomes[name, protocol] = Outcome(reason=reason)
            if not reason:
                out = str(folder / f"{name}_{protocol}.h5")
                made.append(Task(name, protocol, keys, 0, quick, out))
        keys = {LAYERS_KEY: str(rule.path), "record.epochs.what": ANGLES,
                "schedule.before.feedback": 5 if quick else 20,
                "schedule.epochs": 3 if quick else 20}
        reason = _refused(BENCHMARK, keys, rule, quick)
        outcomes[name, BENCHMARK] = Outcome(reason=reason)
        if not reason:
            made += [Task(name, BENCHMARK, keys, seed, False,
                          str(folder / f"{name}_{BENCHMARK}_{seed}.h5"))
                     for seed in range(SEEDS[quick])]
    return made, outcomes


def _refused(protocol: str, keys: dict[str, Any], rule: Rule, quick: bool) -> str:
    """Return why a rule cannot be put through a protocol, or nothing."""
    from dfc_neuro.files import resolve

    try:
        found = resolve.protocol(protocol, keys, quick=quick)
        if protocol == BENCHMARK:
            from dfc_neuro.learning.planning import make_plan

            make_plan(found, 0)
    except InputError as error:
        spikes = any("spikes" in reads for reads in (rule.reads.pre, rule.reads.post))
        if protocol in OF_RATES and spikes:
            return "needs spikes"
        if protocol not in OF_RATES and not spikes and "rate" in rule.reads.pre:
            return "needs rates"
        return f"{error.found}; {error.remedy}" if error.remedy else error.found
    return ""


def work(task: Task) -> tuple[Task, str]:
    """Run a task in this process; return it with what went wrong, or nothing."""
    from dfc_neuro.run import run

    try:
        run(task.protocol, out=task.out, seed=task.seed, keys=task.keys, quick=task.quick,
            force=True, progress=False)
    except DfcNeuroError as error:
        return task, str(error)
    return task, ""


def run_all(made: Iterable[Task], outcomes: dict[tuple[str, str], Outcome], workers: int,
            told: Callable[[Task], None]) -> None:
    """Run tasks in processes of their own, the long ones first; note what became of each."""
    order = sorted(made, key=lambda t: list(EXPERIMENTS).index(t.protocol)
                   if t.protocol in EXPERIMENTS else -1, reverse=True)
    others = active_children()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            futures = started_apart(lambda: [pool.submit(work, task) for task in order])
            for future in as_completed(futures):
                task, wrong = future.result()
                outcome = outcomes[task.rule, task.protocol]
                if wrong:
                    outcome.reason = wrong
                else:
                    outcome.paths.append(task.out)
                told(task)
        except BaseException:  # Ctrl-C above all: what is begun or waits is not worth waiting for
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                if process not in others:
                    process.terminate()
            raise
    for outcome in outcomes.values():
        outcome.paths.sort()


def named(rules: Iterable[str | Path]) -> dict[str, Rule]:
    """Return rules by name; two files of one name are told apart by a number."""
    found: dict[str, Rule] = {}
    for given in rules:
        rule = load(given, "rule")
        name, k = rule.name, 2
        while name in found:
            name, k = f"{rule.name}_{k}", k + 1
        found[name] = rule
    if not found:
        raise InputError("compare", "no rule is given", "name at least one")
    return found
