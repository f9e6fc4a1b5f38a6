"""verify on files of many settings, written by a plain re-telling of the published algorithm.

The oracle below follows the time-step recipe of Meulemans et al.'s code line by line in NumPy, in
absolute coordinates; it shares nothing with the package.
"""

from itertools import pairwise

import h5py
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit

from dfc_neuro.verify import verify

PHI = {
    "linear": (lambda v: v, lambda v: np.ones_like(v)),
    "tanh": (np.tanh, lambda v: 1.0 - np.tanh(v) ** 2),
    "relu": (lambda v: v * (v > 0), lambda v: 1.0 * (v > 0)),
    "leakyrelu": (lambda v: np.where(v > 0, v, 0.2 * v), lambda v: np.where(v > 0, 1.0, 0.2)),
    "sigmoid": (expit, lambda v: expit(v) * expit(-v)),
}
PHI["leaky_relu"], PHI["softmax"] = PHI["leakyrelu"], PHI["linear"]


class Oracle:
    """A network, a minibatch and constants, and all that follows from them."""

    def __init__(self, sizes, B, hidden, output, loss, constants, seed):
        rng = np.random.default_rng(seed)
        self.L, self.B, self.c, self.loss = len(sizes) - 1, B, constants, loss
        self.names = [hidden] * (self.L - 1) + [output]
        pairs = list(zip(sizes[1:], sizes[:-1], strict=True))
        self.W = [rng.normal(size=p) / np.sqrt(p[1]) for p in pairs]
        self.b = [0.2 * rng.normal(size=n) for n, _ in pairs]
        self.Q = [0.2 * rng.normal(size=(n, sizes[-1])) for n, _ in pairs]
        self.Q[-1] += np.eye(sizes[-1])
        self.x = rng.normal(size=(B, sizes[0]))
        self.y = (rng.integers(0, sizes[-1], B) if loss == "cross_entropy"
                  else rng.normal(size=(B, sizes[-1])))
        self.noise = [rng.normal(size=(constants["tmax_di_fb"] - 1, B, n)) for n, _ in pairs]
        self.v, self.r = self.sweep([0.0] * self.L)
        out = self.r[-1]
        if loss == "mse":
            self.value = np.mean((out - self.y) ** 2)
            self.gradient = 2.0 * (out - self.y) / out.size
        else:
            p = np.exp(out) / np.exp(out).sum(axis=1, keepdims=True)
            hot = np.eye(sizes[-1])[self.y]
            self.value = -np.mean(np.log((p * hot).sum(axis=1)))
            self.gradient = (p - hot) / B
        self.aim = out - constants["target_stepsize"] * self.gradient
        slope = [PHI[n][1](v) for n, v in zip(self.names, self.v, strict=True)]
        self.slope = slope
        J = [np.stack([np.diag(s) for s in slope[-1]])]
        for i in range(self.L - 2, -1, -1):
            J.insert(0, np.stack([j @ self.W[i + 1] @ np.diag(s)
                                  for j, s in zip(J[0], slope[i], strict=True)]))
        self.J, self.Jbar = J, np.concatenate(J, axis=2)
        self.Qbar, self.cuts = np.concatenate(self.Q), np.cumsum(sizes[1:])[:-1]

        self.system = self.Jbar @ self.Qbar + constants["alpha_di"] * np.eye(sizes[-1])

    def phi(self, i, v):
        return PHI[self.names[i]][0](v)

    def sweep(self, shift):
        v, r, below = [], [], self.x
        for i in range(self.L):
            v.append(below @ self.W[i].T + self.b[i] + shift[i])
            below = self.phi(i, v[-1])
            r.append(below)
        return v, r

    def learn(self, rule, v, basal, r):
        found, below = [], [self.x, *r[:-1]]
        for i in range(self.L):
            if rule == "nonlinear_difference":
                g = 2.0 * (self.phi(i, v[i]) - self.phi(i, basal[i]))
            else:
                g = 2.0 * (v[i] - basal[i])
                g = g * self.slope[i] if rule == "derivative_matrix" else g
            found.append((g.T @ below[i] / self.B, g.mean(axis=0)))
        return found

    def run(self, aim, suffix, noise=None):
        c = self.c
        dt, T = c["dt_di" + suffix], c["tmax_di" + suffix]
        tau = max(c["time_constant_ratio" + suffix], dt)
        tau_A = c["apical_time_constant" + suffix]
        if tau_A == -1:
            tau_A = c["dt_di"]
        alpha, k_p = c["alpha_di" if not suffix else "alpha_fb"], c["k_p" + suffix]
        at_once = c.get("inst_system_dynamics", False)
        instant = c.get("inst_transmission" + suffix, False) or at_once
        proactive = c.get("proactive_controller", False) and not suffix
        v, r, basal = list(self.v), list(self.r), list(self.v)
        apical = [np.zeros_like(a) for a in v]
        u = np.zeros_like(aim)
        u_int = u
        states = [(u, apical, basal, v, r)]
        for t in range(T - 1):
            e = aim - r[-1]
            if k_p > 0:
                u_int = u_int + dt * (e - alpha * u)
                new_u = u_int + k_p * e
            else:
                new_u = u + dt * (e - alpha * u)
            used = new_u if proactive else u
            old, r, v, basal, apical = r, [], list(v), [], list(apical)
            for i in range(self.L):
                below = self.x if i == 0 else (r if instant else old)[i - 1]
                basal.append(below @ self.W[i].T + self.b[i])
                apical[i] = apical[i] + dt / tau_A * (used @ self.Q[i].T - apical[i])
                if noise is not None:
                    s = c["sigma_output_fb" if i == self.L - 1 else "sigma_fb"]
                    apical[i] = apical[i] + s * np.sqrt(dt) / tau_A * noise[i][t]
                whole = apical[i] + basal[i]
                v[i] = whole if at_once else v[i] + dt / tau * (whole - v[i])
                r.append(self.phi(i, v[i]))
            u = new_u
            states.append((u, apical, basal, v, r))
        return states

    def write(self, group, labels_as=None):
        c, n_L = self.c, self.Q[-1].shape[1]
        group.attrs.update(c)
        group.attrs.update(loss=self.loss, hidden_nonlinearity=self.names[0],
                           output_nonlinearity=self.names[-1],
                           sizes=[self.x.shape[1], *(len(b) for b in self.b)])

        def layers(path, arrays):
            for i, a in enumerate(arrays, start=1):
                group[f"{path}{i}"] = a

        def update(path, found):
            layers(f"{path}/dW", [W for W, _ in found])
            layers(f"{path}/db", [b for _, b in found])

        for name in "WbQ":
            layers(f"parameters/{name}", getattr(self, name))
        group["input"], group["target"] = self.x, self.y if labels_as is None else labels_as
        group["loss_value"], group["output_target"] = self.value, self.aim
        group["jacobian"] = self.Jbar
        layers("forward/v", self.v)
        layers("forward/r", self.r)
        delta = self.aim - self.r[-1]

        # the analytic state
        system = self.system
        u = np.stack([np.linalg.inv(a) @ d for a, d in zip(system, delta, strict=True)])
        shift = [u @ Q.T for Q in self.Q]
        v, r = self.sweep(shift)
        group["ssa/u"] = u
        layers("ssa/delta_v", shift)
        layers("ssa/v", v)
        layers("ssa/r", r)
        basal = [a - s for a, s in zip(v, shift, strict=True)]
        for rule in ("nonlinear_difference", "voltage_difference", "derivative_matrix"):
            update(f"ssa/update_{rule}", self.learn(rule, v, basal, r))

        # the controlled trajectory
        states = self.run(self.aim, "")
        group["dynamics/u"] = np.stack([s[0] for s in states])
        for k, name in enumerate(("v_apical", "v_basal", "v_soma", "r"), start=1):
            layers(f"dynamics/{name}", [np.stack([s[k][i] for s in states])
                                        for i in range(self.L)])
        group["dynamics/error_norm"] = np.stack(
            [np.sqrt(((self.aim - s[4][-1]) ** 2).sum(axis=1)) for s in states])
        _, _, basal, v, r = states[-1]
        anew = [b @ W.T + c for b, W, c in
                zip([self.x, *r[:-1]], self.W, self.b, strict=True)]
        moved = [n + a - old for n, a, old in zip(anew, v, basal, strict=True)]
        for rule in ("nonlinear_difference", "voltage_difference", "derivative_matrix"):
            each = [self.learn(rule, s[3], s[2], s[4]) for s in states]
            update(f"dynamics/update_time_average_{rule}",
                   [tuple(np.mean([e[i][k] for e in each], axis=0) for k in range(2))
                    for i in range(self.L)])
            update(f"dynamics/update_steady_state_{rule}", self.learn(rule, moved, anew, r))

        # the feedback phase
        states = self.run(self.r[-1], "_fb", self.noise)
        scale = 1.0 / max(c["sigma_fb"], 0.01) ** 2
        for i in range(self.L):
            total = sum(now[1][i].T @ after[0] for now, after in pairwise(states))
            group[f"feedback_learning/noise{i + 1}"] = self.noise[i]
            group[f"feedback_learning/dQ{i + 1}"] = (
                -scale * total / (self.B * (len(states) - 1)))

        # references
        below = [self.x, *self.r[:-1]]
        for gamma in ("0", "0.3", "2e-2"):
            damping = float(gamma) * np.eye(n_L)
            steps = np.stack([J.T @ np.linalg.inv(J @ J.T + damping) @ d
                              for J, d in zip(self.Jbar, delta, strict=True)])
            steps = np.split(steps, self.cuts, axis=1)
            path = f"references/minimum_norm_damping_{gamma}"
            layers(f"{path}/delta_v", steps)
            update(path, [(s.T @ x / self.B, s.mean(axis=0))
                          for s, x in zip(steps, below, strict=True)])
            whole = 0.0
            for b in range(self.B):
                J_W = np.concatenate([np.kron(J[b], np.append(x[b], 1.0))
                                      for J, x in zip(self.J, below, strict=True)], axis=1)
                whole += J_W.T @ np.linalg.inv(J_W @ J_W.T + damping) @ delta[b] / self.B
            ends = np.cumsum([J.shape[2] * (x.shape[1] + 1)
                              for J, x in zip(self.J, below, strict=True)])
            parts = [p.reshape(J.shape[2], -1) for p, J in
                     zip(np.split(whole, ends[:-1]), self.J, strict=True)]
            update(f"references/gauss_newton_damping_{gamma}",
                   [(p[:, :-1], p[:, -1]) for p in parts])
        slopes = [-np.einsum("bk,bkn->bn", self.gradient, J) for J in self.J]
        update("references/backprop", [(s.T @ x, s.sum(axis=0))
                                       for s, x in zip(slopes, below, strict=True)])
        inside = [np.linalg.norm(np.linalg.pinv(J) @ J @ self.Qbar) for J in self.Jbar]
        group["references/condition2_ratio"] = np.mean(inside) / np.linalg.norm(self.Qbar)
        for name, values in self.eigenvalues().items():
            group[f"references/max_real_eigenvalue/{name}"] = values

    def eigenvalues(self):
        c, n_L, N = self.c, self.Q[-1].shape[1], len(self.Qbar)
        tau, alpha, k_p = max(c["time_constant_ratio"], c["dt_di"]), c["alpha_di"], c["k_p"]
        edges = [0, *self.cuts, N]
        found = {name: [] for name in ("A_tildeI", "A_I", "A_instI", "A_PI")}
        for b in range(self.B):
            hat = np.zeros((N, N))
            for i in range(1, self.L):
                hat[edges[i]:edges[i + 1], edges[i - 1]:edges[i]] = (
                    self.W[i] @ np.diag(self.slope[i - 1][b]))
            soma, leak, J = (np.eye(N) - hat) / tau, alpha * np.eye(n_L), self.Jbar[b]
            last = np.zeros((n_L, N))
            last[:, edges[-2]:] = self.J[-1][b]
            both = {
                "A_tildeI": [[-soma, self.Qbar / tau], [-last, -leak]],
                "A_I": [[-soma, soma @ self.Qbar], [-J, -leak]],
                "A_instI": [[-J @ self.Qbar - leak]],
                "A_PI": [[-soma, soma @ self.Qbar],
                         [-J + k_p / tau * last,
                          -leak - k_p / tau * self.J[-1][b] @ self.Q[-1]]],
            }
            for name, blocks in both.items():
                found[name].append(np.linalg.eigvals(np.block(blocks)).real.max())
        return found


BASE = {
    "alpha_di": 0.1, "dt_di": 0.05, "tmax_di": 30, "k_p": 1.5, "time_constant_ratio": 0.3,
    "apical_time_constant": -1, "target_stepsize": 0.7,
    "alpha_fb": 0.4, "dt_di_fb": 0.01, "tmax_di_fb": 12, "k_p_fb": 0.2,
    "time_constant_ratio_fb": 0.05, "apical_time_constant_fb": 0.2,
    "sigma_fb": 0.05, "sigma_output_fb": 0.03,
}


def check(tmp_path_factory, oracle, **keys):
    path = tmp_path_factory.mktemp("generated") / "file.h5"
    lines = []
    with h5py.File(path, "w") as file:
        oracle.write(file.create_group("case"), **keys)
    status = verify(path, echo=lines.append)
    assert status == 0, "\n".join(lines)
    assert not any("not checked" in line or "not in the file" in line for line in lines)


booleans = st.booleans()
# The oracle subtracts voltages, as the published code does: a displacement of 1e-6 would leave it
# ten digits. So the target is far and the phase not short; the shortest ones have their own test.
CONSTANTS = st.fixed_dictionaries({
    "alpha_di": st.sampled_from([0.0, 0.001, 0.2]),
    "dt_di": st.sampled_from([0.05, 0.1]),
    "tmax_di": st.integers(12, 25),
    "k_p": st.sampled_from([0.0, 0.3, 2.0]),
    "time_constant_ratio": st.sampled_from([0.01, 0.2, 1.0]),
    "apical_time_constant": st.sampled_from([-1, 0.15]),
    "inst_transmission": booleans, "proactive_controller": booleans,
    "inst_system_dynamics": booleans, "inst_transmission_fb": booleans,
    "target_stepsize": st.sampled_from([1.0, 3.0]),
    "alpha_fb": st.sampled_from([0.0, 0.6]), "k_p_fb": st.sampled_from([0.0, 0.15]),
    "dt_di_fb": st.sampled_from([0.01, 0.03]), "tmax_di_fb": st.integers(12, 20),
    "time_constant_ratio_fb": st.sampled_from([0.001, 0.05]),
    "apical_time_constant_fb": st.sampled_from([-1, 0.3]),
    "sigma_fb": st.sampled_from([0.0, 0.005, 0.05]),
    "sigma_output_fb": st.sampled_from([0.0, 0.05]),
})


@settings(max_examples=30)
@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5), B=st.integers(1, 5),
       hidden=st.sampled_from(sorted(PHI)),
       output=st.sampled_from(["linear", "softmax", "sigmoid", "tanh", "leakyrelu"]),
       loss=st.sampled_from(["mse", "cross_entropy"]), constants=CONSTANTS,
       seed=st.integers(0, 1000))
def test_any_setting(tmp_path_factory, sizes, B, hidden, output, loss, constants, seed):
    oracle = Oracle(sizes, B, hidden, output, loss, constants, seed)
    assume(np.linalg.cond(oracle.system).max() < 1e3)
    # a rate that saturates to 1e-300 is zero to rounding, and so is all that is made of it
    assume(max(np.abs(v).max() for v in oracle.run(oracle.aim, "")[-1][3]) < 12)
    check(tmp_path_factory, oracle)


@pytest.mark.parametrize("B", [33, 130])
def test_more_samples_than_one_block(tmp_path_factory, B):
    check(tmp_path_factory, Oracle([4, 7, 3], B, "tanh", "linear", "cross_entropy", BASE, 1))


def test_absent_booleans_are_false_and_delays_are_real(tmp_path_factory):
    check(tmp_path_factory, Oracle([4, 7, 6, 3], 3, "tanh", "linear", "mse", BASE, 2))


@pytest.mark.parametrize("T", [1, 2])
def test_the_shortest_phases(tmp_path_factory, T):
    constants = BASE | {"tmax_di": T, "tmax_di_fb": 2, "proactive_controller": True}
    check(tmp_path_factory, Oracle([4, 7, 3], 3, "tanh", "linear", "mse", constants, 5))


def test_one_hot_targets_are_labels(tmp_path_factory):
    oracle = Oracle([4, 5, 3], 3, "tanh", "softmax", "cross_entropy", BASE, 3)
    check(tmp_path_factory, oracle, labels_as=np.eye(3)[oracle.y])


def test_growth_beyond_any_bound_is_followed_to_its_end(tmp_path_factory):
    constants = BASE | {"alpha_di": -30.0, "tmax_di": 200, "inst_transmission": True}
    oracle = Oracle([4, 5, 3], 2, "linear", "linear", "mse", constants, 4)
    assert np.abs(oracle.run(oracle.aim, "")[-1][0]).max() > 1e12
    check(tmp_path_factory, oracle)
