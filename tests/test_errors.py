"""Exceptions survive SimPy and pickle with their numbers."""

import pickle

import pytest

from edgesim import errors

EXAMPLES = [
    errors.UserError("no"),
    errors.ScenarioError((errors.Problem("a.yaml", 3, 5, "devices.0", "what"),)),
    errors.NeedsValues("eclm", "score"),
    errors.RunningElsewhere("runs/shop-1: another process is running it"),
    errors.CannotResume("runs/shop-1 was begun on another device"),
    errors.OutOfMemory(10, 3),
    errors.Disconnected(3, 10),
    errors.Killed("memory", 1.0, 2.0),
    errors.WorkFailure("fedavg", "fast-0", 12.0, "train/3", "ValueError: no"),
    errors.LearnerFailure("fedavg", 0, 12.0, "KeyError: 'x'"),
    errors.DiskFull("runs/shop-1", "No space left on device"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_exception_is_rebuilt_from_its_args_as_simpy_does_it(error: Exception) -> None:
    rebuilt = type(error)(*error.args)
    assert str(rebuilt) == str(error)
    assert vars(rebuilt) == vars(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_exception_survives_pickling(error: Exception) -> None:
    rebuilt = pickle.loads(pickle.dumps(error))
    assert (type(rebuilt), str(rebuilt), vars(rebuilt)) == (type(error), str(error), vars(error))


def test_every_exception_class_of_the_tree_is_among_the_examples() -> None:
    def leaves(cls: type[Exception]) -> set[type[Exception]]:
        below = cls.__subclasses__()
        return {cls} if not below else set().union(*(leaves(sub) for sub in below))

    own = {cls for cls in leaves(errors.EdgesimError) if cls.__module__ == "edgesim.errors"}
    assert own <= {type(error) for error in EXAMPLES}


def test_a_problem_tells_its_place() -> None:
    problem = errors.Problem("a.yaml", 3, 5, "devices.0.uplink", "found 20")
    assert str(problem) == "a.yaml:3:5: devices.0.uplink: found 20"
    assert str(errors.Problem("a.yaml", 0, 0, "", "empty")) == "a.yaml: empty"
