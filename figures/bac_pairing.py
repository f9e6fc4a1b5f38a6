"""Potentiation and depression of an apical synapse by pairing an EPSC with a somatic pulse."""

from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {"run": {"protocol": "bac_pairing"}}


def make(results):
    """Return the figure, 175 mm wide."""
    run = results["run"]
    fig = Figure(figsize=(6.9, 2.0), layout="constrained")
    weight, voltage = fig.subplots(1, 2)
    for measure, marker in (("potentiation", "o"), ("depression", "v")):
        for channels, colour in (("calcium", plot.BLUE), ("blocked", plot.RED)):
            plot.pairing(run, weight, key="lag", where={channels: ""}, measure=measure,
                         label=f"{measure}, {channels}", color=colour, marker=marker,
                         linestyle="-" if marker == "o" else ":")
    weight.set_xlabel("Somatic pulse minus EPSC (ms)")
    weight.set_ylabel("Change of the weight")
    low, high = weight.get_ylim()
    weight.set_ylim(low, high + 0.6 * (high - low))
    weight.legend(ncols=2, loc="upper left")
    trace = run["voltage"]["V_m_apical"]
    time = 1e3 * trace.coords["time"]
    for channels, lag, colour in (("calcium", "-20 ms", plot.GREY), ("calcium", "5 ms", plot.BLUE),
                                  ("blocked", "5 ms", plot.RED)):
        one = trace.sel(condition=f"{channels}, lag={lag}").values.reshape(-1)
        voltage.plot(time, 1e3 * one, color=colour, label=f"lag {lag}, {channels}")
    onset = float(run.protocol["stimuli"]["pre"]["times"][0].removesuffix(" ms"))
    voltage.set_xlim(onset - 30, onset + 100)
    voltage.set_xlabel("Time (ms)")
    voltage.set_ylabel("Apical voltage (mV)")
    voltage.legend()
    return fig
