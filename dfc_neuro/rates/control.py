"""The constants of one phase of control, and the coefficients of one time step."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Control:
    """Constants of the controlled dynamics, times in units of tau_u.

    Parameters
    ----------
    alpha, k_p : float
        Leak and proportional gain of the controller.
    dt : float
        Time step.
    steps : int
        T, the number of stored states: T - 1 steps are taken from the feedforward state.
    tau : float
        tau_v / tau_u; raised to `dt` where it is smaller, as in the published code.
    tau_A : float
        Time constant of the apical compartment; 0 makes it instantaneous (v_A = Q u).
    transmission : {"instant", "delayed"}
        Whether a layer reads the layer below at the new or at the old time.
    proactive : bool
        Whether the apical compartments read the control of the new time.  Both options say what a
        step of first order reads; the equations, and so steps of second order, know no difference.
    instant_system : bool
        The somata follow without delay; forces instant transmission.
    integrator : {"euler", "fast", "averaged"}
        Forward Euler; the exponential step for soma and apical compartment, of second order
        where there is no noise; or Euler's time average in closed form, which means Euler's steps
        where steps are needed all the same.
    sigma, sigma_output : float
        Noise of the apical compartments, hidden layers and output layer.
    """

    alpha: float
    k_p: float
    dt: float
    steps: int
    tau: float
    tau_A: float = 0.0
    transmission: str = "instant"
    proactive: bool = False
    instant_system: bool = False
    integrator: str = "euler"
    sigma: float = 0.0
    sigma_output: float = 0.0

    @property
    def delayed(self) -> bool:
        return self.transmission == "delayed" and not (self.instant_system or self.second_order)

    @property
    def second_order(self) -> bool:
        """Whether a step reads the mean of old and new inputs."""
        return self.integrator == "fast" and not (self.sigma or self.sigma_output)

    @property
    def soma_step(self) -> float:
        """k: the fraction of the way that the soma goes in one step."""
        if self.instant_system:
            return 1.0
        ratio = self.dt / (self.tau if self.second_order else max(self.tau, self.dt))
        return -math.expm1(-ratio) if self.integrator == "fast" else ratio

    @property
    def apical_step(self) -> float:
        """k_A: the fraction of the way that the apical compartment goes in one step."""
        if self.tau_A == 0.0:
            return 1.0
        ratio = self.dt / self.tau_A
        return -math.expm1(-ratio) if self.integrator == "fast" else ratio

    @property
    def soma_ahead(self) -> float:
        """The part of `soma_step` that goes to the new input; the rest goes to the old one."""
        return self._ahead(self.soma_step, 0.0 if self.instant_system else self.tau)

    @property
    def apical_ahead(self) -> float:
        """The part of `apical_step` that goes to the new control."""
        return self._ahead(self.apical_step, self.tau_A)

    def _ahead(self, step: float, tau: float) -> float:
        # exact for an input that changes linearly: 1 - (1 - exp(-h))/h with h = dt/tau
        return 1.0 - step * tau / self.dt if self.second_order else step

    @property
    def control_gain(self) -> float:
        """du/de at the new time of a step of second order."""
        half = self.dt / 2
        return self.k_p + half * (1.0 - self.alpha * self.k_p) / (1.0 + self.alpha * half)

    @property
    def noise_steps(self) -> tuple[float, float]:
        """Standard deviation of the noise that one step adds: hidden layers, output layer."""
        tau_A = self.tau_A or self.dt
        root = math.sqrt(self.dt) / tau_A
        if self.integrator == "fast" and self.tau_A:
            root = math.sqrt(-math.expm1(-2.0 * self.dt / tau_A) / (2.0 * tau_A))
        return self.sigma * root, self.sigma_output * root
