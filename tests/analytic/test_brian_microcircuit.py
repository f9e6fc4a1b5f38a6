"""The dendritic error microcircuit: silent when it predicts itself, nudged: backprop's error."""

import numpy as np
import pytest

from dfc_neuro.errors import ModelError, ProtocolError
from dfc_neuro.files.load import load
from dfc_neuro.run import run

RUN = """
kind = "recording"
summary = "One input, with and without a teacher"
on = "dendritic_error"
duration = "400 ms"
numerics = { method = "euler", dt = "1 ms" }
stimuli.input = { type = "patterns", at = "input", width = "9 s", values = [[INPUT]] }
stimuli.teacher = { type = "patterns", at = "teacher", width = "9 s", values = [[TEACHER]] }
set = { "projections.W_down.w" = { like = "W_PP2", transpose = true } }
record.hidden = { what = ["v_apical", "rate"], of = "hidden", every = "399 ms" }
record.output = { what = "v_soma", of = "output", every = "399 ms" }
"""
INPUT, TEACHER = [1, 0, 0.5, 0, 1, 0.3, 0.2, 0, 1], [2.0, -1.0, 0.5]
STILL = {f"projections.{name}.rule": "none" for name in ("W_PP1", "W_PP2", "W_IP", "W_PI")}


def ran(more="", **keys):
    text = RUN.replace("INPUT", ", ".join(map(str, INPUT))) + more
    with open("p.toml", "w", encoding="utf-8") as file:
        file.write(text.replace("TEACHER", ", ".join(map(str, TEACHER))))
    return run("./p.toml", out="r.h5", seed=1, keys=STILL | keys, force=True, progress=False)


def matrix(result, name):
    found = result.connections[name]
    w = np.zeros((found["post"].values.max() + 1, found["pre"].values.max() + 1))
    w[found["post"].values, found["pre"].values] = found["w"].values
    return w


def last(result, group, variable):
    """Values at the end, (conditions, units)."""
    return result[group][variable].values[-1]


def phi(x):
    return np.log1p(np.exp(x))


def test_silent_when_it_predicts_itself(workdir):
    result = ran(**{"cells.g_nudge": "0 / second"})
    W1, W2 = matrix(result, "W_PP1"), matrix(result, "W_PP2")
    hidden, output = last(result, "hidden", "rate")[0], last(result, "output", "v_soma")[0]
    assert np.abs(last(result, "hidden", "v_apical")).max() < 1e-9
    expected = phi(0.1 / 0.19 * W1 @ INPUT)  # the error that is not there leaves the forward pass
    np.testing.assert_allclose(hidden, expected, rtol=1e-9)
    np.testing.assert_allclose(output, 0.1 / 0.13 * W2 @ expected, rtol=1e-9)
    assert np.abs(W2).max() > 0.1 and np.abs(output).max() > 0.1


def backprop(W2, hidden):
    """-dL/d(hidden rates) by differences, dL/dv_k = -phi'(v_k) (target_k - v_k) at the output."""
    def loss(r):
        v = 0.1 / 0.13 * W2 @ r
        s = np.linspace(0, 1, 2001)[:, None]  # along the way from the target to v
        path = TEACHER + s * (v - np.array(TEACHER))
        slope = (path - TEACHER) / (1 + np.exp(-path)) * (v - TEACHER)
        return np.trapezoid(slope, s[:, 0], axis=0).sum()

    steps = 1e-4 * np.eye(len(hidden))
    return np.array([(loss(hidden - h) - loss(hidden + h)) / 2e-4 for h in steps])


def test_nudged_the_apical_voltage_is_the_error_of_backprop(workdir):
    """Its direction; the better, the weaker the nudge, which the interneurons get as well."""
    strength = [0.06, 0.015, 0.002]  # per ms
    conditions = "\n".join(
        f'c{k} = {{ "cells.g_nudge" = "{g} / ms", "cells.g_som" = "{g} / ms" }}'
        for k, g in enumerate(strength))
    result = ran(f"[conditions]\n{conditions}\n")
    v = last(result, "hidden", "v_apical")
    silent = phi(0.1 / 0.19 * matrix(result, "W_PP1") @ INPUT)
    error = backprop(matrix(result, "W_PP2"), silent)
    size = np.linalg.norm(v, axis=1)
    cosines = v @ error / size / np.linalg.norm(error)
    assert cosines[0] < cosines[1] < cosines[2]
    assert cosines[1] > 0.99 and cosines[2] > 0.999
    # v_A = W_down (phi(u_out) - phi(u_I)): a share g/(g_L + g_B + g) of the error, and what the
    # interneurons leave of it; the loss sees W_PP2 through g_B/(g_L + g_B)
    shares = np.array(strength) / (0.13 + np.array(strength))
    np.testing.assert_allclose(size[1:] / (shares * (1 - shares))[1:], 1.3 * np.linalg.norm(error),
                               rtol=0.04)


def test_the_lateral_rules_find_the_self_predicting_state(workdir):
    """From other weights, W_IP and W_PI bring the apical voltage to rest; one sign flipped: no."""
    start = {"projections.W_IP.w": "xavier_normal", "cells.g_nudge": "0 / second",
             "projections.W_PI.w": "xavier_normal", "record.hidden.every": "100 ms",
             "duration": "3 s", "projections.W_IP.rule": "sacramento_ip",
             "projections.W_PI.rule": "sacramento_pi", "rules.eta_IP": "5 Hz"}
    more = ('[conditions]\nas_published = {}\n'
            'flipped = { "projections.W_PI.rule" = "flipped.toml" }\n')
    rule = load("sacramento_pi", "rule").path.read_text(encoding="utf-8")
    with open("flipped.toml", "w", encoding="utf-8") as file:
        file.write(rule.replace("(v_rest - apical_post)", "(apical_post - v_rest)"))
    v = ran(more, **start | {"rules.eta_PI": "5 Hz"})["hidden"]["v_apical"].values
    norms = np.linalg.norm(v, axis=2)
    assert norms[-1, 0] < 0.02 * norms[0, 0]
    assert norms[-1, 1] > 2 * norms[0, 1]


def test_bad_patterns_and_weights_are_refused(workdir):
    with pytest.raises(ProtocolError, match=r"stimuli\.input\.values: found lists of \[2\]; give "
                                            "lists of 9"):
        ran(**{"stimuli.input.values": [[1, 2]]})
    with pytest.raises(ProtocolError, match=r"stimuli\.teacher\.width: is shorter than dt"):
        ran(**{"stimuli.teacher.width": "0.1 ms"})
    with pytest.raises(ProtocolError, match=r"stimuli\.teacher\.values: found '1 mV', 1 is needed"):
        ran(**{"stimuli.teacher.values": [["1 mV", 0, 0]]})
    text = load("dendritic_error", "circuit").path.read_text(encoding="utf-8")
    for old, new, message in (
            ('like = "W_PP2"', 'like = "W_PI"', r"W_IP\.w\.like: there is no earlier"),
            ('like = "W_down"', 'like = "W_IP"', r"W_PI\.w\.like: 'W_IP' does not have the same")):
        with open("c.toml", "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))
        with pytest.raises(ModelError, match=message):
            load("./c.toml", "circuit")
