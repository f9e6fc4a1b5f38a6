"""MNIST and Fashion-MNIST: found in a folder of IDX files, or fetched once from OpenML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from dfc_neuro.datasets._dataset import Dataset, Split, check_options, split_indices
from dfc_neuro.datasets._idx import read_idx, write_idx
from dfc_neuro.errors import DataError

OPTIONS: dict[str, Any] = {
    "folder": "",
    "source": ("folder", "openml"),
    "validation": 5000,
    "split_seed": 0,
    "subset": None,  # all
}
FILES = ("train-images", "train-labels", "t10k-images", "t10k-labels")


@dataclass(frozen=True)
class ImageSet:
    """One of the two sets.

    Attributes
    ----------
    title : str
        Its name in messages.
    openml : str
        Its name on OpenML (version 1).
    mean, deviation : float
        Subtracted from, and dividing, grey values in 0..1.
    folder : str
        Where a Debian package puts it, "" when there is none.
    package : str
        That package.
    """

    title: str
    openml: str
    mean: float
    deviation: float
    folder: str = ""
    package: str = ""


SETS = {
    "mnist": ImageSet("MNIST", "mnist_784", 0.1307, 0.3081),
    "fashion_mnist": ImageSet(
        "Fashion-MNIST",
        "Fashion-MNIST",
        0.0,
        1.0,
        "/usr/share/datasets/fashion-mnist",
        "dataset-fashion-mnist",
    ),
}


def load_images(name: str, options: Mapping[str, Any], where: str) -> Dataset:
    """Return one of the sets as flat standardised images, (N, 784), and labels 0..9.

    Parameters
    ----------
    name : str
        Of `SETS`.
    options : dict
        ``folder`` of the four IDX files, gzipped or not; or ``source`` = "openml";
        ``validation`` samples (5000) split off by ``split_seed``, which is the same for every run;
        ``subset``: how many training samples to keep.
    where : str
        The place of the options, for messages.

    Raises
    ------
    DataError
        If an option, a folder or a file is wrong.
    """
    chosen = check_options(options, OPTIONS, where)
    images = SETS[name]
    if chosen["source"] == "openml":
        folder = _fetch(name, where)
    else:
        folder = _find_folder(images, chosen["folder"], where)
    x, labels, x_test, labels_test = _read_folder(folder, where)
    n = len(labels)
    if chosen["validation"] >= n:
        raise DataError(
            f"{where}, validation", f"{chosen['validation']} of {n} samples", f"give less than {n}"
        )
    train, validation = split_indices(labels, chosen["validation"], chosen["split_seed"])
    if chosen["subset"] is not None:
        if not 0 < chosen["subset"] <= len(train):
            raise DataError(
                f"{where}, subset",
                f"{chosen['subset']} of {len(train)} training samples",
                f"give 1 to {len(train)}",
            )
        train = train[: chosen["subset"]]

    values = (np.arange(256) / 255.0 - images.mean) / images.deviation

    def part(grey: np.ndarray, y: np.ndarray) -> Split:
        return Split(grey.reshape(len(grey), -1), y.astype(np.int64), values)

    held = part(x[validation], labels[validation]) if len(validation) else None
    return Dataset(
        part(x[train], labels[train]),
        held,
        part(x_test, labels_test),
        x[0].size,
        10,
        "cross_entropy",
    )


def _find_folder(images: ImageSet, given: str, where: str) -> Path:
    """Return the folder that the user or a Debian package has put the files in."""
    openml = 'set data.source = "openml" to download it once'
    folder = Path(given or images.folder).expanduser()
    if not given and not images.folder:
        raise DataError(
            f"{where}, folder",
            f"say where the IDX files of {images.title} are",
            f"set data.folder, or {openml}",
        )
    if not folder.is_dir():
        package = f"install Debian's package {images.package}, " if images.package else ""
        raise DataError(
            f"{where}, folder",
            f"there is no folder {folder}",
            f"set data.folder, {package}or {openml}",
        )
    return folder


def _read_folder(folder: Path, where: str) -> tuple[np.ndarray, ...]:
    """Return training images and labels, test images and labels."""
    found = []
    for stem in FILES:
        kind = "idx3-ubyte" if stem.endswith("images") else "idx1-ubyte"
        names = [f"{stem}{dot}{kind}{end}" for dot in "-." for end in ("", ".gz")]
        path = next((folder / n for n in names if (folder / n).is_file()), None)
        if path is None:
            raise DataError(
                f"{where}, folder",
                f"{folder} has no {stem}-{kind} (or .gz)",
                f"it must hold {', '.join(FILES)}",
            )
        found.append((path, read_idx(path)))
    for (path, images), (label_path, labels) in (found[:2], found[2:]):
        if images.dtype != np.uint8 or images.ndim != 3 or not images.size:
            raise DataError(str(path), f"holds {images.dtype} of shape {images.shape}, not images")
        if labels.shape != images.shape[:1]:
            raise DataError(
                str(label_path), f"has {labels.size} labels for {len(images)} images of {path.name}"
            )
        if labels.dtype != np.uint8 or labels.max() > 9:
            raise DataError(str(label_path), "holds labels other than 0 to 9")
    if found[0][1].shape[1:] != found[2][1].shape[1:]:
        raise DataError(str(found[2][0]), "has images of another size than the training images")
    return tuple(array for _, array in found)


def _fetch(name: str, where: str) -> Path:
    """Return the cache folder of a set, filled from OpenML at the first call."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "dfc_neuro" / name
    paths = [folder / f"{s}-idx{3 if s.endswith('images') else 1}-ubyte.gz" for s in FILES]
    if all(path.is_file() for path in paths):
        return folder
    from sklearn import datasets

    parser = "pandas" if find_spec("pandas") else "liac-arff"
    images = SETS[name]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = datasets.fetch_openml(
            images.openml,
            version=1,
            as_frame=False,
            parser=parser,
            data_home=str(folder),
        )
        grey, labels = np.asarray(found.data), np.asarray(found.target).astype(np.uint8)
        if grey.shape != (70000, 784) or labels.shape != (70000,):
            raise ValueError(f"got data of shape {grey.shape}")
        grey = grey.astype(np.uint8).reshape(-1, 28, 28)
        parts = (grey[:60000], labels[:60000], grey[60000:], labels[60000:])
        for path, part in zip(paths, parts, strict=True):
            write_idx(path, part)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{where}, source",
            f"{images.title} could not be fetched from OpenML into {folder} ({error})",
            "check the network, or set data.folder to a folder of its IDX files",
        ) from error
    return folder
