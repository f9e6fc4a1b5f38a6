"""Feedback weights learn what an independent computation of the published rule did (20-10-5)."""

from dfc_neuro.run import run


def test_q_of_a_linear_network_after_800_updates(tmp_path):
    """Measured with the published rule: 8.8 degrees to J^T, 5.6 to J^+ damped by 5, ratio .996."""
    result = run("dfc_figS2", out=tmp_path / "x.h5", progress=False, keys={
        "nonlinearity": "linear", "schedule.epochs": 20, "record.epochs.what": [
            "angle_q_jt", "angle_q_pinv", "condition_2"],
        "data.width": 1, "data.validation": 0})  # the target is the network's own output
    found = {name: result.metrics[name].values for name in result.metrics}
    assert len(found["angle_q_jt"]) == 21  # 20 passes of 40 minibatches
    assert found["angle_q_jt"][0] > 60 and found["angle_q_jt"][-1] < 12
    assert found["angle_q_pinv"][0] > 60 and found["angle_q_pinv"][-1] < 8
    assert found["condition_2"][0] < 0.7 and found["condition_2"][-1] > 0.98
