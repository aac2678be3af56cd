"""Functions that only decoder children load: a service names them and stays without the libraries that they need."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def _function(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


class Remote:
    """The name of a function. Where it arrives in a child it is the function itself; called, it is loaded here."""

    def __init__(self, module: str, name: str) -> None:
        self.__name__ = name
        self._module = module

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """What the function returns."""
        return _function(self._module, self.__name__)(*args, **keywords)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        """How it is sent."""
        return _function, (self._module, self.__name__)


def remote(package: str, functions: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose `functions` lie in these modules of it, none of which it imports."""

    def find(name: str) -> Any:
        if name not in functions:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return Remote(f"{package}.{functions[name]}", name)

    return find
