"""Result files that are missing, damaged, foreign, in the way, or that the disk refuses."""

import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from dfc_neuro.errors import ResultsError
from dfc_neuro.results import Result, Writer

HEADER = {"protocol": "[phases]\nduration = 10\n", "model": "n = 3\n", "seed": 7}


def _unfinished(path, header=HEADER, **options):
    with pytest.raises(ZeroDivisionError), Writer(path, header, **options) as writer:
        writer.extend("metrics/loss", [1.0], ["epoch"])
        writer.checkpoint({"epoch": 1})
        writer.extend("metrics/loss", [2.0], ["epoch"])
        raise ZeroDivisionError


def _finished(path, value=1.0):
    with Writer(path, HEADER) as writer:
        writer.put("weights/weights1", np.full((50, 50), value), ("post", "pre"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a note\n", "is not an HDF5 file; give a file written by dfc-neuro run"),
        (b"", "is not an HDF5 file"),
        (bytes(range(256)) * 40, "is not an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 4, "is damaged or cut off"),
    ],
)
def test_not_a_result(tmp_path, content, message):
    path = tmp_path / "run.h5"
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=message) as error:
        Result(path)
    assert str(path) in str(error.value) and error.value.exit_code == 2


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.99])
def test_truncated(tmp_path, keep):
    path = tmp_path / "run.h5"
    _finished(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ResultsError, match=r"damaged or cut off; copy it again, or .* --force"):
        Result(path)


def test_damaged_inside(tmp_path):
    path = tmp_path / "run.h5"
    with Writer(path, HEADER) as writer:
        writer.put("weights/W1", np.random.default_rng(0).random((100, 100)), ("post", "pre"))
    with h5py.File(path) as file:
        chunk = file["weights/W1"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + 200] = b"\0" * 200
    path.write_bytes(content)
    result = Result(path)
    with pytest.raises(ResultsError, match="damaged"):
        _ = result.weights["W1"]


def test_missing_folder_unfinished(tmp_path):
    with pytest.raises(ResultsError, match="no such file"):
        Result(tmp_path / "none.h5")
    with pytest.raises(ResultsError, match="is a folder"):
        Result(tmp_path)
    _unfinished(tmp_path / "run.h5")
    with pytest.raises(ResultsError, match="is an unfinished run; run it again with --resume"):
        Result(tmp_path / "run.h5")


def test_foreign_schema(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(ResultsError, match="no result of dfc-neuro"):
        Result(path)
    with h5py.File(path, "a") as file:
        file.attrs["schema"] = "dfc_neuro result 9"
    with pytest.raises(ResultsError, match=r"has schema 'dfc_neuro result 9'.*update dfc-neuro"):
        Result(path)


def test_unknown_names(tmp_path):
    _finished(tmp_path / "run.h5")
    result = Result(tmp_path / "run.h5")
    with pytest.raises(ResultsError, match="has no 'weight1'; did you mean 'weights1'"):
        _ = result.weights["weight1"]
    with pytest.raises(ResultsError, match="has no recording 'voltage'"):
        _ = result["voltage"]
    with pytest.raises(ResultsError, match="has no dim 'pots'; did you mean 'post'"):
        result.weights["weights1"].sel(pots=1)
    with pytest.raises(ResultsError, match="has no dim 'pots'"):
        result.weights.sel(pots=1)
    with pytest.raises(ResultsError, match="pre: has no '50'"):
        result.weights["weights1"].sel(pre=50)
    assert result.weights.get("W1") is None and "W1" not in result.weights


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "run.h5"
    _finished(path)
    before = path.read_bytes()
    for options in ({}, {"resume": True}):
        with pytest.raises(ResultsError, match="--force"):
            Writer(path, HEADER, **options)
    _unfinished(path, force=True)
    with pytest.raises(ResultsError, match=r"exists; --force overwrites it.*--force --resume"):
        Writer(path, HEADER)
    with pytest.raises(ResultsError, match="exists"):
        Writer(path, HEADER | {"seed": 8}, resume=True)
    assert path.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == [
        "run.h5",
        "run.h5.partial",
    ]
    with Writer(path, HEADER, force=True) as writer:
        assert writer.state is None
        writer.put("measures/x", 2.0)
    assert list(Result(path).measures) == ["x"] and not list(Result(path).metrics)
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]


def test_unfinished_run_is_not_lost(tmp_path):
    path = tmp_path / "run.h5"
    _unfinished(path)
    with pytest.raises(ResultsError, match="unfinished run; --resume continues it, --force"):
        Writer(path, HEADER)
    with Writer(path, HEADER, resume=True) as writer:
        assert writer.state == {"epoch": 1}
        writer.extend("metrics/loss", [2.5], ["epoch"])
    assert Result(path).metrics["loss"].values.tolist() == [1.0, 2.5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 8}, "seed: 7 there, 8 now"),
        ({"seed": None}, "seed: 7 there, absent now"),
        ({"protocol": "[phases]\nduration = 20\n"}, "protocol, phases.duration: 10 there, 20 now"),
        ({"protocol": "[phases]\n"}, "protocol, phases.duration: 10 there, absent now"),
        ({"model": "n = 4"}, "model, n: 3 there, 4 now"),
    ],
)
def test_contradictory_resume(tmp_path, change, message):
    path = tmp_path / "run.h5"
    _unfinished(path)
    with pytest.raises(ResultsError, match=message):
        Writer(path, HEADER | change, resume=True)
    with Writer(path, HEADER, resume=True) as writer:
        assert writer.state == {"epoch": 1}


def test_damaged_state(tmp_path):
    path = tmp_path / "run.h5"
    _unfinished(path)
    (state,) = (tmp_path / "run.h5.partial").glob("*.state.h5")
    state.write_bytes(state.read_bytes()[:900])
    with pytest.raises(ResultsError, match=r"state\.h5: .* cannot be read .* --force starts anew"):
        Writer(path, HEADER, resume=True)
    with Writer(path, HEADER, force=True) as writer:
        writer.put("measures/x", 1.0)
    assert float(Result(path).measures["x"]) == 1.0


def test_run_without_checkpoint_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), Writer(tmp_path / "run.h5", HEADER) as writer:
        writer.extend("metrics/loss", [1.0], ["epoch"])
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_one_writer_a_file(tmp_path):
    path = tmp_path / "run.h5"
    with Writer(path, HEADER) as writer:
        for options in ({}, {"force": True}, {"resume": True}):
            with pytest.raises(ResultsError, match="being written by another process"):
                Writer(path, HEADER, **options)
        writer.put("measures/x", 1.0)
    assert float(Result(path).measures["x"]) == 1.0


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(ResultsError, match=r"cannot be written .*; choose another file with -o"):
        Writer(tmp_path / "file" / "run.h5", HEADER)
    with pytest.raises(ResultsError, match="is a folder; give the name of a file"):
        Writer(tmp_path / "folder.h5", HEADER)
    assert list((tmp_path / "folder.h5").iterdir()) == []


FULL = """
    import resource, signal, sys
    import numpy as np
    from dfc_neuro.errors import ResultsError
    from dfc_neuro.results import Writer

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path, when = sys.argv[1:]

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))

    try:
        if when == "start":
            fill()
        with Writer(path, {"protocol": "", "model": "", "seed": 1}) as writer:
            writer.extend("metrics/loss", [1.0], ["epoch"])
            writer.checkpoint({"epoch": 1})
            if when == "extend":
                fill()
                writer.extend("metrics/loss", np.random.rand(100_000), ["epoch"])
            if when == "checkpoint":
                writer.extend("metrics/loss", [1.5], ["epoch"])
                fill()
                writer.checkpoint({"epoch": 2})
            if when == "finish":
                fill()
    except ResultsError as error:
        print(error)
        sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("when", ["start", "extend", "checkpoint", "finish"])
def test_full_disk(tmp_path, when):
    path = tmp_path / "run.h5"
    command = [sys.executable, "-c", textwrap.dedent(FULL), str(path), when]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "run.h5: cannot be written (" in done.stdout and "Traceback" not in done.stderr
    assert "0x" not in done.stdout
    assert not path.exists()
    if when == "start":
        assert list(tmp_path.iterdir()) == []
        return
    assert "--resume continues from the last save" in done.stdout
    with Writer(path, {"protocol": "", "model": "", "seed": 1}, resume=True) as writer:
        assert writer.state == {"epoch": 1}
        writer.extend("metrics/loss", [2.0], ["epoch"])
    assert Result(path).metrics["loss"].values.tolist() == [1.0, 2.0]
