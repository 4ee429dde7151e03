"""Job functions: pure functions that the work plane may run, and what identifies their code."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from math import isfinite
from typing import Any, Generic, ParamSpec, TypeVar, final, overload

from ..loaded_code import OWN
from ..models.sources import closure_digest, source_digest
from .keys import SEQUENTIAL

P = ParamSpec("P")
R = TypeVar("R")


COMPUTING = (
    "edgesim.jobs.batching",
    "edgesim.jobs.bench",
    "edgesim.jobs.filled",
    "edgesim.jobs.layout",
    "edgesim.jobs.members",
    "edgesim.jobs.optimizers",
    "edgesim.jobs.placement",
    "edgesim.jobs.recipe",
    "edgesim.jobs.shapes",
    "edgesim.jobs.stacked_evaluation",
    "edgesim.jobs.stacked_optimizers",
    "edgesim.jobs.stacked_training",
    "edgesim.jobs.trained",
    "edgesim.models",
    "edgesim.seeds",
)
"""What weights are computed with: modules and packages on whose code the bits of a result may depend."""

_OFFERED = (*COMPUTING, "edgesim.data", "edgesim.jobs.arithmetic", "edgesim.jobs.scoring")
"""What a learner's job may compute with besides its own code."""

Element = tuple[tuple[Any, ...], int | None]
"""What distinguishes a call from the others of its batch: its inputs and its seed."""


@dataclass(frozen=True, slots=True)
class Fused:
    """How calls of a job function with the same parameters are computed in one batch.

    Attributes
    ----------
    path
        Of the parameters and a kind of device (``cpu``, ``cuda``): the path of such calls,
        :data:`~edgesim.jobs.keys.SEQUENTIAL` where they are not fused.
        Parameters of a fused call are hashable. It depends on nothing else but committed tables.
    run
        Computes a batch: ``run(elements, **parameters)`` gives for each element what the function would have
        returned, but for rounding, or the exception that it raised. The bits of an element's result depend on that
        element and the parameters only, not on the others and their number.
    light
        Of the parameters: whether a batch costs less than handing it to another process.
    """

    path: Callable[[Mapping[str, Any], str], str]
    run: Callable[..., list[Any]]
    light: Callable[[Mapping[str, Any]], bool]


@final
class JobFunction(Generic[P, R]):
    """A pure function that a plane can run; made by :func:`job`, called like the function itself.

    Attributes
    ----------
    name
        ``module:function``.
    takes_seed
        Whether it draws anything: whether it has the parameter ``seed``.
    options
        Its other parameters.
    version, depends
        See :func:`job`.
    fused
        How several calls are computed in one batch; None where they never are.
    light
        Whether it costs less than handing it to another process.
    finite
        Whether it fails where its value holds a NaN or an infinity.
    stacks
        Whether it reads weights that are members of a stack as they are; others get dicts.
    """

    def __init__(
        self,
        function: Callable[P, R],
        version: int,
        depends: Sequence[str],
        fused: Fused | None = None,
        light: bool = False,
        finite: bool = False,
        stacks: bool = False,
    ) -> None:
        parameters = inspect.signature(function).parameters.values()
        self.name = f"{function.__module__}:{function.__qualname__}"
        if getattr(function, "__closure__", None):
            raise TypeError(f"{self.name} is a closure: what it closes over is in no key; pass it as a parameter")
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            raise TypeError(f"{self.name} takes **{list(parameters)[-1].name}: a job names its parameters")
        if "<" in function.__qualname__:  # <lambda>, <locals>
            raise TypeError(
                f"{self.name} has no name of its own, by which its results could be told from others': "
                "define a job by def at the top level of a module"
            )
        by_name = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
        inputs = [parameter for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY]
        self._variadic = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in inputs)
        self._most = sum(parameter.kind is not parameter.VAR_POSITIONAL for parameter in inputs)
        self._least = sum(
            parameter.kind is not parameter.VAR_POSITIONAL and parameter.default is parameter.empty
            for parameter in inputs
        )
        self.takes_seed = any(parameter.name == "seed" for parameter in by_name)
        self.options = frozenset(parameter.name for parameter in by_name) - {"seed"}
        self._required = frozenset(p.name for p in by_name if p.default is p.empty) - {"seed"}
        self.fused = fused
        self.light = light
        self.finite = finite
        self.stacks = stacks
        self._function = function
        self.version = version
        self.depends = tuple(depends)
        self._digest: str | None = None
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<job {self.name}>"

    def __reduce__(self) -> str:
        return self.__qualname__  # found again under its own name, which is this object

    def path(self, params: Mapping[str, Any], device: str = "cpu") -> str:
        """How a call with these parameters is computed on a kind of device where batches are allowed."""
        return SEQUENTIAL if self.fused is None else self.fused.path(params, device)

    def is_light(self, path: str, params: Mapping[str, Any]) -> bool:
        """Whether calls with these parameters, on this path, cost less than handing them to another process."""
        return self.light or (path != SEQUENTIAL and self.fused is not None and self.fused.light(params))

    def digest(self) -> str:
        """Hash the code that its result may depend on: its module, what it declares, its version; outside of edgesim
        also what edgesim computes with. Reads files once. Of a module of a user's own, with all of its top-level
        package, and what these import of the user's.

        Raises
        ------
        TypeError
            Its module has no source file, and it has no version.
        """
        if self._digest is None:
            self._digest = self._read_digest()
        return self._digest

    def _read_digest(self) -> str:
        module = self._function.__module__
        offered = () if module.partition(".")[0] == "edgesim" else _OFFERED
        digests = [source_digest(name) for name in dict.fromkeys((*self.depends, *offered))]
        try:
            digests.append(_own_digest(module))
        except ModuleNotFoundError:
            if not self.version:
                raise TypeError(
                    f"{self.name} has no source file to tell its versions apart by (a notebook?): "
                    "mark it @job(version=1), and raise the version with every change"
                ) from None
        return f"{self.version}:" + ":".join(digests)

    def check_inputs(self, count: int) -> None:
        """Raise ``TypeError`` where a call with so many inputs could not be made."""
        if count < self._least or (count > self._most and not self._variadic):
            most = "any number" if self._variadic else self._most
            raise TypeError(f"{self.name} takes {self._least} to {most} inputs, not {count}")

    def check_parameters(self, params: Mapping[str, object]) -> None:
        """Raise ``TypeError`` where a call with these parameters could not be made."""
        given = params.keys()
        if not given <= self.options:
            known = ", ".join(sorted(self.options)) or "none"
            raise TypeError(f"{self.name} has no parameter {min(given - self.options)!r}; it has: {known}")
        if not self._required <= given:
            raise TypeError(f"{self.name} needs the parameter {min(self._required - given)!r}")


def _own_digest(module: str) -> str:
    """Hash a job's own module; edgesim's own jobs declare what else they depend on."""
    if module == "__main__":  # under `python -m package.module` it is of that package
        module = getattr(getattr(sys.modules[module], "__spec__", None), "parent", None) or module
    package = module.partition(".")[0]
    return source_digest(module) if package in OWN else closure_digest(package)


@overload
def job(function: Callable[P, R], /) -> JobFunction[P, R]: ...
@overload
def job(
    *,
    version: int = ...,
    depends: Sequence[str] = ...,
    fused: Fused | None = ...,
    light: bool = ...,
    finite: bool = ...,
    stacks: bool = ...,
) -> Callable[[Callable[P, R]], JobFunction[P, R]]: ...
def job(
    function: Callable[P, R] | None = None,
    /,
    *,
    version: int = 0,
    depends: Sequence[str] = (),
    fused: Fused | None = None,
    light: bool = False,
    finite: bool = False,
    stacks: bool = False,
) -> JobFunction[P, R] | Callable[[Callable[P, R]], JobFunction[P, R]]:
    """Mark a pure function as a job: ``f(*inputs, *, seed, **named parameters)``.

    It must return the same for the same inputs, parameters and seed, whenever and wherever it runs; change
    none of its inputs; draw only from generators made from ``seed``. A function without ``seed`` draws
    nothing.

    Parameters
    ----------
    version
        At least 1 and raised with every change where the source is in no file (a notebook); elsewhere it can
        stay 0.
    depends
        Names of modules and packages whose code the result depends on, besides the function's own module, what edgesim
        computes with (``fit``, optimizers, networks, data) and, outside of edgesim and its learners, all of the package
        and what these import of the user's own.
    fused
        How calls with the same parameters are computed in one batch, where they are.
    light
        Whether a call costs less than sending it to another process: a few passes over its inputs.
    finite
        Whether a value that holds a NaN or an infinity is a failure, because control flow decides by it.
    stacks
        Whether it takes weights that are members of a stack (``members``), which saves taking them out of it.

    Examples
    --------
    >>> @job
    ... def double(number: float, *, times: int = 1) -> float:
    ...     return number * 2**times
    >>> double(1.5, times=2)
    6.0
    """
    if function is not None:
        return JobFunction(function, version, depends, fused, light, finite, stacks)
    return lambda marked: JobFunction(marked, version, depends, fused, light, finite, stacks)


def require_finite(value: object) -> None:
    """Raise ``ValueError`` where a number in containers, dataclasses, tensors or arrays is infinite or NaN."""
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError(f"returned {value}, where control flow needs a finite number")
    elif isinstance(value, complex):
        require_finite((value.real, value.imag))
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            require_finite(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            require_finite(item)
    elif hasattr(value, "isfinite"):
        if not bool(value.isfinite().all()):
            raise ValueError("returned a tensor with a NaN or an infinity, where control flow needs finite numbers")
    elif hasattr(value, "dtype"):
        _require_finite_array(value)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            require_finite(getattr(value, field.name))


def _require_finite_array(array: Any) -> None:
    """The same for an array, or a number of one."""
    import numpy as np

    if array.dtype.kind in "fc" and not bool(np.isfinite(array).all()):
        raise ValueError("returned an array with a NaN or an infinity, where control flow needs finite numbers")
