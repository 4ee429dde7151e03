"""The contract of a learner, and how learners are found.

A learner is a paradigm of adaptation: it has parameters, starts from a model, and speaks the verbs of the world.
"""

from __future__ import annotations

import abc
import importlib
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from .errors import UserError
from .scenario.model import OwnTraining

if TYPE_CHECKING:
    from simpy.events import Event

    from .world import Device, Model, Offline, World

ENTRY_POINTS = "edgesim.learners"
"""The entry-point group in which packages announce their learners."""


class LearnerParams(BaseModel):
    """Base of a learner's parameters: the scenario file is checked against it, to the line.

    Use the types of ``edgesim.scenario.units`` for quantities (``Seconds``, ``Bytes``, ``Ratio``), give every
    parameter a default and a ``Field(description=...)``: ``edgesim learners`` and the editors' schema show it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TrainingParams(LearnerParams):
    """Base of the parameters of a learner that trains while time goes by."""

    training: OwnTraining = Field(OwnTraining(), description="What it trains with instead of `training`.")


class Learner(abc.ABC):
    """A paradigm of adaptation.

    Write ``run`` as the paper's paragraph reads: a generator over the verbs of ``world``. Keep the arithmetic apart,
    in pure functions. Log nothing: every verb writes its own row.

    Parameters
    ----------
    params
        An instance of ``Params``.

    Attributes
    ----------
    Params
        The model of its parameters.
    """

    Params: ClassVar[type[LearnerParams]] = LearnerParams

    def __init__(self, params: Any) -> None:
        self.params = params

    @property
    def oracle(self) -> bool:
        """Whether it is told the true instants of drifts (``wait_for_drift``); it is then marked in every table."""
        return False

    @property
    def ideal(self) -> bool:
        """Whether it does what nobody can (``World.ideal``): an upper bound, marked in the manifest; also an oracle."""
        return False

    @property
    def needs_values(self) -> bool:
        """Whether its control flow reads computed values (``Handle.value()``), so that ``--timing-only`` refuses it.

        A learner that always does says ``needs_values = True`` in its class.
        """
        return False

    def prepare(self, offline: Offline) -> Model:
        """The model that every device serves at time 0. Takes no virtual time; its cost is reported as offline.

        By default the scenario's model, pretrained on the proxy data; learners share that one job.
        """
        return offline.pretrained()

    def start(self, offline: Offline, world: World) -> Mapping[Device, Model]:
        """The models that some devices serve at time 0 instead of the prepared one, by default none: offline cost, too.

        The devices of ``world`` are there, and nothing has happened to them yet.
        """
        return {}

    @abc.abstractmethod
    def run(self, world: World) -> Generator[Event, Any, None]:
        """Live in ``world``: yield verbs until there is nothing left to do, or for ever.

        The simulation ends at the scenario's horizon, whether this has returned or not.
        """


@dataclass(frozen=True, slots=True)
class LearnerEntry:
    """An installed learner; loading it imports its module.

    Attributes
    ----------
    name
        As scenarios call it.
    source
        ``package.module:Class``.
    """

    name: str
    source: str

    def load(self) -> type[Learner]:
        """Import the class.

        Raises
        ------
        UserError
            There is no such class, or it is no learner.
        """
        return load_learner(self.source)


def discover() -> dict[str, LearnerEntry]:
    """The installed learners by name, without importing any of them."""
    return {name: LearnerEntry(name, source) for name, source in _entries(tuple(sys.path))}


@cache
def _entries(path: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Names and sources of what is installed below ``sys.path``, which takes a while to read."""
    return tuple(sorted((point.name, point.value) for point in entry_points(group=ENTRY_POINTS)))


def installed_params() -> Mapping[str, Callable[[], type[BaseModel]]]:
    """Name of each installed learner -> a function that gives the model of its parameters."""

    def params_of(entry: LearnerEntry) -> Callable[[], type[BaseModel]]:
        return lambda: entry.load().Params

    return {name: params_of(entry) for name, entry in discover().items()}


def load_learner(source: str) -> type[Learner]:
    """Import the learner ``package.module:Class``.

    Raises
    ------
    UserError
        There is no such module or class, or it is no learner.
    """
    module_name, _, class_name = source.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(f"learner {source!r}: there is no module {error.name!r}") from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Learner)):
        raise UserError(f"learner {source!r}: {module_name} has no class {class_name!r} that is an edgesim.Learner")
    return found
