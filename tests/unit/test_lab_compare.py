"""The comparison of rules: its page, its numbers, what it says of those that cannot run."""

import re

import numpy as np
import pytest
from click.testing import CliRunner

import dfc_neuro as dn
from dfc_neuro.cli import main
from dfc_neuro.errors import InputError
from dfc_neuro.laboratory import battery, numbers


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Rules of rates, of which one learns, and one of spikes, on the benchmark alone."""
    folder = tmp_path_factory.mktemp("compare")
    text = dn.load("dfc_forward").path.read_text(encoding="utf-8")
    assert '"2 Hz"' in text
    (folder / "flipped.toml").write_text(text.replace('"2 Hz"', '"-2 Hz"'), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(battery, "EXPERIMENTS", {"dfc_step": "dfc_step"})
        patch.setattr("dfc_neuro.laboratory.page.EXPERIMENTS", {"dfc_step": "dfc_step"})
        return dn.compare(["dfc_forward", folder / "flipped.toml", "hebb", "triplet"],
                          out=folder / "out", quick=True, progress=False, workers=1)


def test_a_rule_that_fails_is_shown_to_fail(compared):
    text = compared.path.read_text(encoding="utf-8")
    said = dict(re.findall(r"<h2 id='(\w+)'>.*?<b>Learning</b>(.*?)</p>", text, flags=re.DOTALL))
    assert "seeds): learns: test error" in said["dfc_forward"]
    assert "does not learn" in said["flipped"] and "does not learn" in said["hebb"]
    assert "needs spikes" in said["triplet"]
    angle = {name: float(re.search(r"angle to BP ([\d.]+)", line)[1])
             for name, line in said.items() if "angle to BP" in line}
    assert angle["dfc_forward"] < 60 < 120 < angle["flipped"]
    assert all(f"angle to {name}" in said["dfc_forward"] for name in ("GN", "MN", "DFC's update"))


def test_the_page_needs_nothing_else(compared):
    text = compared.path.read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=(?!['\"]?(?:data:|#))", text)
    assert text.count("data:image/svg+xml;base64,") == 3
    assert "eta * mismatch" in text or "eta * (rate_post - prediction_post)" in text
    assert compared.reasons["triplet"]["dfc_step"] == "needs spikes"
    assert len(compared.results["hebb"]["quickstart"]) == 3


def test_intervals():
    found = numbers.over_seeds([1.0, 2.0, 3.0])
    assert (found.value, found.n) == (2.0, 3)
    assert found.high - found.value == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)
    assert numbers.over_seeds([5.0]).shown(1, " %") == "5.0 %"
    assert found.shown(1) == "2.0 [-0.5, 4.5]"


def test_mistakes_are_said_before_anything_runs(workdir):
    for arguments, message in (
            (["compare", "tripled"], "did you mean 'triplet'?"),
            (["compare", "triplet", "--cell", "aief"], "did you mean 'aeif'?"),
            (["fit", "triplet", "--to", "sjostrom", "--free", "A2_minus"], "no experiment has"),
            (["fit", "triplet", "--to", "pairing_frequency", "--free", "A2"],
             "has no parameter 'A2'"),
            (["fit", "triplet", "--to", "pairing_frequency", "--free", "tau_x", "--bounds",
              "tau_x=1"], "write NAME=LOW:HIGH"),
            (["fit", "triplet", "--to", "pairing_frequency", "--free", "tau_x", "--bounds",
              "tau_x=1:2"], "bounds enclose the start")):
        found = CliRunner().invoke(main, arguments)
        assert found.exit_code == 2 and message in found.output, found.output


def test_a_fit_finds_the_parameters_that_made_the_data(workdir):
    """Amplitudes of pair STDP, from weights that the closed form gives for others."""
    rows = [(lag, 100 * (1 + 60 * np.sign(lag) * {1: 0.004, -1: 0.007}[int(np.sign(lag))]
                         * np.exp(-abs(lag) / 20))) for lag in (-20, -10, 10, 20)]
    text = "# source: made up\nrate,lag,mean,sd,n\n"
    (workdir / "made.csv").write_text(
        text + "".join(f"1 Hz,{lag} ms,{float(w)!r},1,\n" for lag, w in rows), encoding="utf-8")
    (workdir / "rule.toml").write_text(
        dn.load("stdp_pair").path.read_text(encoding="utf-8"), encoding="utf-8")
    keys = {"over.rate": ["1 Hz"], "over.lag": [f"{lag} ms" for lag, _ in rows],
            "stimuli.pre.train.n": 1, "times": 60, "duration": "240 ms",
            "numerics.method": "rk4", "numerics.dt": "1 ms", "numerics.target": "numpy"}
    found = dn.fit("./rule.toml", to="./made.csv", free=["A_plus", "A_minus"],
                   cell="spike_relay", keys=keys)
    assert found.values["A_plus"] == pytest.approx(0.004, rel=1e-3)
    assert found.values["A_minus"] == pytest.approx(0.007, rel=1e-3)
    assert max(found.errors.values()) < 1e-4 and found.rms[1] < 0.1 < found.rms[0]
    assert dn.load(str(found.path)).parameters["A_plus"] == found.values["A_plus"]
    with pytest.raises(InputError, match="exists; give another name"):
        dn.fit("./rule.toml", to="./made.csv", free=["A_plus"])
