"""The rule files behind the rule names of a reference file."""

from __future__ import annotations

from dfc_neuro.files import load
from dfc_neuro.files.units import quantity
from dfc_neuro.rates.compile import RuleKernel, compile_rule

# name in the group names of a reference file: rule file
FORWARD = {
    "nonlinear_difference": "dfc_forward",
    "voltage_difference": "dfc_forward_voltage",
    "derivative_matrix": "dfc_forward_derivative",
}
FEEDBACK = "dfc_feedback"


def rule_kernel(name: str, **offered: float) -> RuleKernel:
    """Compile a rule file for the rate engine; `offered` are numbers that it reads besides."""
    rule = load(name, "rule")
    values = {key: quantity(value, f"{name}: parameters.{key}").value
              for key, value in rule.parameters.items()}
    return compile_rule(rule.synapse, rule.bias, values | offered, name)
