"""FedAvg of ``peers.py`` in other simulators, each in the way that its own examples show; those that are not installed
are told.

    python benchmarks/peers_installed.py              which are there, and one round of w1 in each
    python benchmarks/peers.py                        has a line for each that is there

They are no dependencies of edgesim, and want others than it does: install them in an environment of their own, with
edgesim beside them (``pip install fedlab pfl 'flwr[simulation]' -e .``), and run the benchmark there.

All train without evaluations: what a simulator evaluates, and when, is its own, and none does what edgesim does at a
deployment. None of them simulates time, links, or memory.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesim.vision import vision

Program = Callable[[int], None]
"""Runs so many rounds."""


@dataclass(frozen=True)
class Task:
    """What is trained: a network, the clients' samples, and how many clients take part in a round."""

    make: Callable[[], nn.Module]
    clients: list[tuple[Tensor, Tensor]]
    a_round: int
    batch: int
    learning_rate: float


def fedlab(task: Task) -> Program:
    """FedLab's serial trainer (one network, one optimizer, a ``DataLoader`` a client) and its synchronous server."""
    vision("models")  # it imports torchvision, which this does also where it was built for another torch
    from fedlab.contrib.algorithm.basic_client import SGDSerialClientTrainer
    from fedlab.contrib.algorithm.basic_server import SyncServerHandler
    from fedlab.core.standalone import StandalonePipeline
    from torch.utils.data import DataLoader, TensorDataset

    sets = [TensorDataset(x, y) for x, y in task.clients]

    class Samples:
        def get_dataloader(self, client: int, batch: int) -> DataLoader[tuple[Tensor, ...]]:
            return DataLoader(sets[client], batch_size=batch, shuffle=True)

    class Pipeline(StandalonePipeline):
        def evaluate(self) -> None:
            """Evaluate nothing; it would print that one should."""

    def run(rounds: int) -> None:
        trainer = SGDSerialClientTrainer(task.make(), len(sets))
        trainer.setup_dataset(Samples())
        trainer.setup_optim(1, task.batch, task.learning_rate)
        Pipeline(SyncServerHandler(task.make(), rounds, task.a_round / len(sets)), trainer).main()

    return run


def pfl(task: Task) -> Program:
    """pfl-research's simulated backend in one process."""
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.algorithm.base import NNAlgorithmParams
    from pfl.algorithm.federated_averaging import FederatedAveraging
    from pfl.data.dataset import Dataset
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.data.sampling import get_user_sampler
    from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
    from pfl.metrics import Weighted
    from pfl.model.pytorch import PyTorchModel

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = task.make()

        def forward(self, x: Tensor) -> Any:
            return self.inside(x)

        def loss(self, x: Tensor, y: Tensor, eval: bool = False) -> Tensor:
            self.train(not eval)
            return functional.cross_entropy(self(x), y)

        def metrics(self, x: Tensor, y: Tensor, eval: bool = False) -> dict[str, Any]:
            return {"loss": Weighted(self.loss(x, y, eval).item() * len(x), len(x))}

    def user(client: int) -> Any:
        return Dataset(raw_data=list(task.clients[client]))

    def run(rounds: int) -> None:
        network = Network()
        sampler = get_user_sampler("random", list(range(len(task.clients))))
        data = FederatedDataset(user, sampler)
        FederatedAveraging().run(
            algorithm_params=NNAlgorithmParams(
                central_num_iterations=rounds,
                evaluation_frequency=10**9,
                train_cohort_size=task.a_round,
                val_cohort_size=0,
            ),
            backend=SimulatedBackend(training_data=data, val_data=data),
            model=PyTorchModel(network, torch.optim.SGD, torch.optim.SGD(network.parameters(), lr=1.0)),
            model_train_params=NNTrainHyperParams(
                local_batch_size=task.batch, local_num_epochs=1, local_learning_rate=task.learning_rate
            ),
            model_eval_params=NNEvalHyperParams(local_batch_size=task.batch),
        )

    return run


def flower(task: Task) -> Program:
    """Flower's simulation runtime, on Ray, a client a core."""
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid, ServerApp
    from flwr.serverapp.strategy import FedAvg
    from flwr.simulation import run_simulation

    logging.getLogger("flwr").setLevel(logging.ERROR)
    clients = ClientApp()

    @clients.train()
    def train(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)
        module = task.make()
        module.load_state_dict(message.content["arrays"].to_torch_state_dict())
        x, y = task.clients[int(context.node_config["partition-id"])]
        optimizer = torch.optim.SGD(module.parameters(), lr=task.learning_rate)
        order = torch.randperm(len(x))
        for begin in range(0, len(x), task.batch):
            rows = order[begin : begin + task.batch]
            optimizer.zero_grad()
            functional.cross_entropy(module(x[rows]), y[rows]).backward()
            optimizer.step()
        content = {"arrays": ArrayRecord(module.state_dict()), "metrics": MetricRecord({"num-examples": len(x)})}
        return Message(content=RecordDict(content), reply_to=message)

    def run(rounds: int) -> None:
        server = ServerApp()

        @server.main()
        def main(grid: Grid, context: Context) -> None:
            share = task.a_round / len(task.clients)
            strategy = FedAvg(fraction_train=share, fraction_evaluate=0.0, min_available_nodes=len(task.clients))
            strategy.start(grid=grid, initial_arrays=ArrayRecord(task.make().state_dict()), num_rounds=rounds)

        backend = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"logging_level": "error"}}
        run_simulation(server, clients, num_supernodes=len(task.clients), backend_config=backend)

    return run


ADAPTERS: dict[str, tuple[str, Callable[[Task], Program]]] = {
    "FedLab": ("fedlab", fedlab),
    "pfl-research": ("pfl", pfl),
    "Flower": ("flwr", flower),
}
"""By name: the package that must be there, and what makes the program."""

SLOW = {"Flower"}
"""Those that are measured over few rounds, as each takes tenths of a second."""


def installed() -> list[str]:
    """The names of those that can be imported here."""
    return [name for name, (package, _) in ADAPTERS.items() if importlib.util.find_spec(package) is not None]


def program(name: str, task: Task) -> Program:
    """Make the program of a simulator; what it prints is not shown."""
    with _quiet():
        inner = ADAPTERS[name][1](task)

    def run(rounds: int) -> None:
        with _quiet():
            inner(rounds)

    return run


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    clients = [
        (torch.randn(20, 64, generator=generator), torch.randint(0, 10, (20,), generator=generator)) for _ in range(100)
    ]
    task = Task(lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), clients, 10, 32, 0.01)
    there = installed()
    for name in ADAPTERS:
        if name not in there:
            print(f"{name}: not installed")
            continue
        began = time.perf_counter()
        program(name, task)(1)
        print(f"{name}: one round of w1, imports included, {time.perf_counter() - began:.2f} s", flush=True)


if __name__ == "__main__":
    main()
