"""verify on the authors' numbers: green as they are, red where one of them is changed."""

import re
import shutil

import h5py
import numpy as np
import pytest

from dfc_neuro.errors import InputError, NumericalError
from dfc_neuro.verify import error, read_case, verify

GOLDEN = "dfc_reference_thin.h5"


@pytest.fixture
def copy(data, tmp_path):
    """Return a function that copies one case of the golden file, changed by a callback."""

    def make(change=lambda case: None, case="regression_integral_delay"):
        path = tmp_path / "copy.h5"
        with h5py.File(data / GOLDEN) as source, h5py.File(path, "w") as target:
            source.copy(case, target)
            change(target[case])
        return path

    return make


def test_golden_numbers_within_1e_10(data):
    lines = []
    assert verify(data / GOLDEN, echo=lines.append) == 0
    assert lines[-1] == "all 678 datasets are within 1e-10"
    errors = [float(re.search(r"(\S+e[+-]\d+)$", line)[1]) for line in lines
              if re.search(r"  \d\.\de[+-]\d+$", line)]
    assert len(errors) == 6 * 47
    assert max(errors) < 1e-12  # what is really reached
    cases = [line.partition(":")[0] for line in lines if not line.startswith((" ", "all"))]
    assert cases == ["classification_pi", "linear_net", "linear_net_unstable",
                     "regression_instant", "regression_integral_delay", "regression_pi"]


def test_unstable_case_is_announced_before_its_numbers(data):
    lines = []
    verify(data / GOLDEN, echo=lines.append)
    announced = [i for i, line in enumerate(lines) if line.startswith("  unstable:")]
    assert len(announced) == 1
    assert lines[announced[0] - 1].startswith("linear_net_unstable:")
    assert "leading eigenvalue of A_PI is +0.861" in lines[announced[0]]


@pytest.mark.parametrize("dataset", [
    "forward/v2", "output_target", "loss_value", "jacobian", "ssa/u",
    "ssa/update_derivative_matrix/dW3", "dynamics/v_apical1", "dynamics/error_norm",
    "dynamics/update_time_average_voltage_difference/db2",
    "dynamics/update_steady_state_nonlinear_difference/dW1", "feedback_learning/dQ3",
    "references/minimum_norm_damping_0.01/delta_v1", "references/gauss_newton_damping_0/db1",
    "references/backprop/dW2", "references/condition2_ratio",
    "references/max_real_eigenvalue/A_PI",
])
def test_one_changed_number_is_found_and_named(copy, dataset):
    def change(case):
        values = case[dataset][()]
        at = np.unravel_index(np.abs(values).argmax(), values.shape)
        if values.ndim:
            values[at] *= 1.0 + 1e-6
        else:
            values *= 1.0 + 1e-6
        case[dataset][()] = values

    lines = []
    path = copy(change)
    assert verify(path, echo=lines.append) == 1
    assert lines[-2].startswith("1 of 119 datasets are off by more than 1e-10:")
    found = re.fullmatch(r"  regression_integral_delay/(\S+): (\S+)", lines[-1])
    assert found[1] == dataset
    assert float(found[2]) == pytest.approx(1e-6, rel=0.06)
    assert sum(line.endswith("<-- off") for line in lines) == 1
    assert verify(path, tolerance=1e-5, echo=lines.append) == 0


@pytest.mark.parametrize("name", ["W1", "b2", "Q3"])
def test_a_changed_parameter_is_found(copy, name):
    def change(case):
        case[f"parameters/{name}"][0] += 1e-6

    assert verify(copy(change), echo=lambda line: None) == 1


def test_a_number_that_is_not_one_is_found(copy):
    def change(case):
        case["dynamics/u"][5, 0, 0] = np.nan

    lines = []
    assert verify(copy(change), echo=lines.append) == 1
    assert lines[-1] == "  regression_integral_delay/dynamics/u: inf"


def test_parts_may_be_absent(copy):
    def change(case):
        for name in ("ssa", "feedback_learning", "references",
                     "dynamics/update_time_average_voltage_difference"):
            del case[name]
        for name in ("alpha_fb", "sigma_fb", "sizes", "k_p"):  # k_p is 0 here
            del case.attrs[name]

    lines = []
    assert verify(copy(change), echo=lines.append) == 0
    absent = [line for line in lines if line.endswith("not in the file")]
    assert len(absent) == 3


def test_constants_may_be_arrays_of_one_or_bytes(copy):
    def change(case):
        case.attrs["alpha_di"] = np.array([0.001])
        case.attrs["hidden_nonlinearity"] = np.array([b"tanh", b"tanh"])
        case.attrs["output_nonlinearity"] = b"linear"
        case.attrs["inst_transmission"] = "False"

    assert verify(copy(change), echo=lambda line: None) == 0


def test_what_cannot_be_checked_is_said(copy):
    def change(case):
        case["ssa/residual"] = 1.0

    lines = []
    verify(copy(change), echo=lines.append)
    assert "  ssa/residual: not a quantity that verify knows, not checked" in lines


def test_every_second_state_by_time_index(copy):
    def change(case):
        dynamics = case["dynamics"]
        for name in [n for n in dynamics if not n.startswith("update_")]:
            values = dynamics[name][::2]
            del dynamics[name]
            dynamics[name] = values
        dynamics.attrs["time_index"] = np.arange(0, 300, 2)

    assert verify(copy(change), echo=lambda line: None) == 0


@pytest.mark.parametrize(("change", "message"), [
    (lambda c: c.__delitem__("ssa/u"), "dataset 'ssa/u' is missing"),
    (lambda c: c.__delitem__("jacobian"), "dataset 'jacobian' is missing"),
    (lambda c: c.__delitem__("input"), "dataset 'input' is missing"),
    (lambda c: c.__delitem__("parameters"), "group 'parameters' is missing"),
    (lambda c: c.__delitem__("parameters/W3"), "dataset 'parameters/W3' is missing"),
    (lambda c: c.__delitem__("feedback_learning/noise2"),
     "dataset 'feedback_learning/noise2' is missing"),
    (lambda c: c.__delitem__("dynamics/update_steady_state_voltage_difference/db1"),
     "dataset 'dynamics/update_steady_state_voltage_difference/db1' is missing"),
    (lambda c: c.attrs.__delitem__("alpha_di"), "attribute 'alpha_di' is missing"),
    (lambda c: c.attrs.__delitem__("loss"), "attribute 'loss' is missing"),
    (lambda c: c.attrs.__setitem__("loss", "mce"), "attribute 'loss' is 'mce'; did you mean 'mse'"),
    (lambda c: c.attrs.__setitem__("hidden_nonlinearity", "tanhh"),
     "attribute 'hidden_nonlinearity' is 'tanhh'; did you mean 'tanh'"),
    (lambda c: c.attrs.__setitem__("dt_di", -0.1), "'dt_di' is -0.1; it must be more than 0"),
    (lambda c: c.attrs.__setitem__("dt_di", "fast"), "'dt_di' is 'fast'; write a number"),
    (lambda c: c.attrs.__setitem__("alpha_di", np.nan), "'alpha_di' is nan; write a finite number"),
    (lambda c: c.attrs.__setitem__("k_p", -1.0), "'k_p' is -1; it must be at least 0"),
    (lambda c: c.attrs.__setitem__("apical_time_constant", 0.0),
     "'apical_time_constant' is 0; it must be more than 0, or -1"),
    (lambda c: c.attrs.__setitem__("sizes", [6, 8, 7, 5]),
     r"dataset 'parameters/W3' has shape \(4, 7\), but the other sizes of the case make it "
     r"\(5, 7\)"),
    (lambda c: c.attrs.__setitem__("tmax_di", 299),
     r"dataset 'dynamics/u' has shape \(300, 3, 4\), but .* make it \(299, 3, 4\)"),
    (lambda c: c.move("ssa/update_voltage_difference", "ssa/update_voltage_diference"),
     "unknown rule; did you mean 'voltage_difference'"),
    (lambda c: c.move("references/minimum_norm_damping_0", "references/minimum_norm_damping_x"),
     "has the damping 'x'; its name ends in a number"),
    (lambda c: c["dynamics"].attrs.__setitem__("time_index", [0, 300]),
     "'time_index' of group 'dynamics' is not a list of states from 0 to 299"),
])
def test_a_file_that_is_not_of_the_layout(copy, change, message):
    path = copy(change)
    with pytest.raises(InputError, match=message) as caught:
        verify(path, echo=lambda line: None)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(f"{path}: regression_integral_delay: ")


def test_labels_that_are_no_classes(copy):
    def change(case):
        case["target"][2] = 5

    with pytest.raises(InputError, match="whole numbers from 0 to 4"):
        verify(copy(change, "classification_pi"), echo=lambda line: None)


def test_truncated_file(data, tmp_path):
    path = tmp_path / "short.h5"
    path.write_bytes((data / GOLDEN).read_bytes()[:400_000])
    with pytest.raises(InputError, match=r"short\.h5: is truncated; get the file again"):
        verify(path)


def test_damaged_chunk(data, tmp_path):
    path = tmp_path / "damaged.h5"
    shutil.copy(data / GOLDEN, path)
    with h5py.File(path) as file:
        dataset = file["regression_integral_delay/dynamics/v_soma1"]
        chunk = dataset.id.get_chunk_info(0)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * 64)
    with pytest.raises(InputError, match="dataset 'dynamics/v_soma1' cannot be read"):
        verify(path, echo=lambda line: None)


@pytest.mark.parametrize(("content", "message"), [
    (b"\x00\x01rubbish" * 99, "is not an HDF5 file"), (b"", "is not an HDF5 file")])
def test_a_file_that_is_not_hdf5(tmp_path, content, message):
    path = tmp_path / "rubbish.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        verify(path)


def test_no_file_a_folder_and_no_case(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        verify(tmp_path / "none.h5")
    with pytest.raises(InputError, match="is a folder"):
        verify(tmp_path)
    path = tmp_path / "empty.h5"
    with h5py.File(path, "w") as file:
        file["number"] = 1.0
    with pytest.raises(InputError, match="holds no case"):
        verify(path)


def test_singular_control_is_said(copy):
    def change(case):
        for i in (1, 2, 3):
            case[f"parameters/Q{i}"][...] = 0.0
        case.attrs["alpha_di"] = 0.0

    with pytest.raises(NumericalError, match="a linear system has no solution"):
        verify(copy(change), echo=lambda line: None)


def test_error_is_relative_to_the_largest_expected_number():
    expected = np.array([0.0, -4.0])
    assert error(np.array([1e-3, -4.0]), expected) == 2.5e-4
    assert error(np.array([1e-3, 0.0]), np.zeros(2)) == 1e-3
    assert error(np.array([np.inf, np.nan]), np.array([np.inf, np.nan])) == 0.0
    assert error(np.array([np.nan, 1.0]), np.ones(2)) == np.inf
    assert error(np.empty((0, 3)), np.empty((0, 3))) == 0.0


def test_read_case_gives_network_and_constants(data):
    with h5py.File(data / GOLDEN) as file:
        case = read_case(file["regression_integral_delay"], "golden")
        assert case.net.sizes == (6, 8, 7, 4)
        assert case.net.nonlinearities == ("tanh", "tanh", "linear")
        control = case.control
        assert (control.alpha, control.k_p, control.dt, control.steps) == (0.001, 0.0, 0.01, 300)
        assert (control.tau, control.tau_A, control.delayed) == (0.5, 0.1, True)
        feedback = case.feedback_control
        assert (feedback.dt, feedback.steps, feedback.tau_A) == (0.002, 50, 0.32)
        assert (feedback.sigma, feedback.sigma_output, feedback.delayed) == (0.05, 0.05, True)


def test_feedback_constants_fall_back_on_those_of_control(data, copy):
    def change(case):
        for name in ("dt_di_fb", "tmax_di_fb", "time_constant_ratio_fb",
                     "apical_time_constant_fb", "sigma_output_fb"):
            case.attrs[name] = -1
        del case.attrs["k_p_fb"]

    with h5py.File(copy(change)) as file:
        feedback = read_case(file["regression_integral_delay"], "copy").feedback_control
    assert (feedback.dt, feedback.steps, feedback.tau) == (0.01, 300, 0.5)
    assert (feedback.tau_A, feedback.sigma_output, feedback.k_p) == (0.01, 0.05, 0.0)
