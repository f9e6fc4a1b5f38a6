"""A biophysical multi-compartment neuron simulator: pyramidal neurons that learn by feedback.

``run(protocol)`` runs a protocol and returns its `Result`; ``load(name)`` opens a model or a
protocol; ``plot`` draws results on a user's axes.
"""

import sys
from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

# name: module that holds it; imported when it is asked for, so that importing this costs nothing
_PUBLIC = {"run": "dfc_neuro.run", "load": "dfc_neuro.files", "Result": "dfc_neuro.results",
           "compare": "dfc_neuro.laboratory", "fit": "dfc_neuro.laboratory",
           "sweep": "dfc_neuro.sweep"}
__all__ = ["Result", "__version__", "compare", "fit", "load", "plot", "run", "sweep"]


class _Package(ModuleType):
    """This package: its public names, imported when they are first asked for.

    The import system binds the module ``dfc_neuro.run`` to the package's name ``run``, which is
    that of the function; here the function stays.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> object:
        if name in _PUBLIC:
            value = getattr(import_module(_PUBLIC[name]), name)
            super().__setattr__(name, value)
            return value
        if name == "plot":
            return import_module("dfc_neuro.plot")
        raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
