"""Spiking cells learn by feedback control: loss, alignment of Q, voltages before and after."""

from matplotlib.figure import Figure

from dfc_neuro import plot

REQUIRES = {"run": {"protocol": "spiking_regression"}}


def make(results):
    """Return the figure, 85 mm wide."""
    run = results["run"]
    fig = Figure(figsize=(3.35, 3.4), layout="constrained")
    (loss, angle), (before, after) = fig.subplots(2, 2)
    for name, label, style in (("test_loss", "spikes", "-"), ("test_loss_of_rates", "rates", "--")):
        curve = run.metrics[name]
        loss.semilogy(curve.coords["epoch"], curve.values, style, color=plot.BLUE, label=label)
    loss.set_xlabel("Epoch")
    loss.set_ylabel("Test loss")
    loss.legend(title="read from")

    curve = run.metrics["angle_q_jt"]
    angle.plot(curve.coords["epoch"], curve.values, color=plot.GREEN)
    angle.set_ylim(0, 95)
    angle.set_yticks([0, 30, 60, 90])
    angle.set_xlabel("Epoch")
    angle.set_ylabel("Angle of $Q$ to $J^T$ (°)")

    epochs = run["voltages"]["V_m_soma"].coords["epoch"]
    for ax, epoch in ((before, epochs[0]), (after, epochs[-1])):
        plot.voltages(run, ax, epoch=epoch, legend=ax is after)
        ax.set_title("before learning" if epoch == 0 else f"after epoch {epoch}")
    after.set_ylabel("")
    after.sharey(before)
    return fig
