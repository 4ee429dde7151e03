"""What edgesim adds to the training it does: wall time against a bare PyTorch loop that does the same.

    python benchmarks/overhead.py                           a small CNN, 10 devices, 20 rounds, 100 samples each
    python benchmarks/overhead.py --model mobilenet_v2 --rounds 2 --devices 4

Three programs do the same batches and the same evaluations, with the same number of threads, in one process, in turns:
the bare loop (one network, weights copied in, no deepcopy, no torch.optim, samples ready in memory), the work plane
(jobs on handles, keys, views), and the whole simulator (``edgesim.run``: virtual time, verbs, tables on disk). Each
device trains its own model for one epoch a round; at the start and after each round it is evaluated on the device's
test samples. The work plane must end with the loop's weights, bit for bit; the simulator with as many training jobs
and evaluations. The simulator's time is that of the whole call: reading the scenario, building the world, writing
tables.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edgesim.data import View, load_dataset
from edgesim.jobs import Handle, InlinePlane, Label
from edgesim.jobs.arithmetic import evaluate, initialise, train
from edgesim.models import Architecture, State, instantiate, named_tensors
from edgesim.seeds import stream_seed

LEARNING_RATE = 0.01
BATCH_SIZE = 32
SAMPLES = 100
MODELS = {
    "cnn": Architecture.of("cnn", {"channels": [16, 32]}, input_shape=(3, 32, 32), classes=10),
    "mobilenet_v2": Architecture.of("torchvision:mobilenet_v2", input_shape=(3, 32, 32), classes=10),
}


@dataclass(frozen=True)
class Setting:
    architecture: Architecture
    devices: int
    rounds: int
    threads: int
    evaluations: bool

    def seed(self, round_number: int, device: int) -> int:
        return 1000 * round_number + device


def write_images(setting: Setting, file: Path) -> None:
    """Colour images in bytes, as data sets come: noise, for speed does not ask what is on them."""
    rng = np.random.default_rng(0)
    count = 4 * SAMPLES * setting.devices
    np.savez(file, x=rng.integers(0, 256, (count, 3, 32, 32), np.uint8), y=rng.integers(0, 10, count))


def views(setting: Setting, data: Path) -> tuple[list[View], list[View]]:
    dataset = load_dataset("npz", path=data)
    parts = np.arange(2 * SAMPLES * setting.devices).reshape(2, setting.devices, SAMPLES)
    training, testing = ([View(dataset, part) for part in half] for half in parts)
    return training, testing


def bare_loop(setting: Setting, start: State, training: list[View], testing: list[View]) -> Callable[[], list[State]]:
    """The least that PyTorch can do it with."""
    module = instantiate(setting.architecture, seed=0)
    names, tensors = zip(*named_tensors(module), strict=True)
    parameters = list(module.parameters())

    def ready(view: View) -> tuple[Tensor, Tensor]:
        x, y = view.materialise()
        return torch.from_numpy(x), torch.from_numpy(y)

    samples, tests = [ready(view) for view in training], [ready(view) for view in testing]

    def score(device: int) -> None:
        if setting.evaluations:
            x, y = tests[device]
            module.eval()
            with torch.inference_mode():
                logits = module(x)
                functional.cross_entropy(logits, y, reduction="sum").item()
                int((logits.argmax(1) == y).sum())

    def run() -> list[State]:
        torch.set_num_threads(setting.threads)
        states = [list(start.values()) for _ in samples]
        with torch.no_grad():
            torch._foreach_copy_(tensors, states[0])
        for device in range(setting.devices):
            score(device)
        for round_number in range(1, setting.rounds + 1):
            for device, (x, y) in enumerate(samples):
                module.train()
                with torch.no_grad():
                    torch._foreach_copy_(tensors, states[device])
                generator = torch.Generator().manual_seed(setting.seed(round_number, device))
                order = torch.randperm(len(x), generator=generator)
                # Dropout draws from the global generator: the loop seeds it, as a careful one would.
                torch.default_generator.manual_seed(stream_seed(setting.seed(round_number, device), "dropout"))
                for begin in range(0, len(x), BATCH_SIZE):
                    chosen = order[begin : begin + BATCH_SIZE]
                    loss = functional.cross_entropy(module(x[chosen]), y[chosen])
                    loss.item()
                    gradients = torch.autograd.grad(loss, parameters)
                    with torch.no_grad():
                        torch._foreach_add_(parameters, gradients, alpha=-LEARNING_RATE)
                states[device] = [tensor.detach().clone() for tensor in tensors]
                score(device)
        return [dict(zip(names, state, strict=True)) for state in states]

    return run


def work_plane(setting: Setting, training: list[View], testing: list[View]) -> Callable[[], list[State]]:
    """The same as jobs on handles."""
    architecture = setting.architecture

    def run() -> list[State]:
        plane = InlinePlane(threads_per_job=setting.threads)
        start = plane.submit(initialise, architecture=architecture, seed=0, label=Label("", "cloud", 0.0, "initialise"))
        models: list[Handle] = [start] * setting.devices
        evaluations = []
        for round_number in range(setting.rounds + 1):
            for device in range(setting.devices):
                label = Label("overhead", f"device-{device}", float(round_number), "")
                if round_number:
                    models[device] = plane.submit(
                        train,
                        models[device],
                        training[device],
                        label=label,
                        seed=setting.seed(round_number, device),
                        architecture=architecture,
                        epochs=1,
                        batch_size=BATCH_SIZE,
                        learning_rate=LEARNING_RATE,
                    ).part("state")
                if setting.evaluations:
                    score = plane.submit(
                        evaluate, models[device], testing[device], label=label, architecture=architecture
                    )
                    evaluations.append(score)
        plane.flush()
        assert all(handle.value().samples == SAMPLES for handle in evaluations)
        return [model.value() for model in models]

    return run


SCENARIO = """
edgesim: 1
name: overhead
seed: 0
horizon: {horizon} s
data:
  source: npz
  path: {data}
  proxy: {{share: 1 %}}
  test_share: 30 %
  test_samples: {test_samples}
  partition: {{kind: iid, samples: 100}}
  arrival: {{rate: 0 /s, labelled: 100 %, buffer: 100}}
model: {model}
pretrain: {{epochs: 0}}
training: {{batch_size: 32, learning_rate: 0.01}}
devices:
  - {{name: device, count: {devices}, compute: 1 TFLOP/s, memory: 4 GiB, uplink: 10 Mbit/s, downlink: 10 Mbit/s}}
cloud: {{compute: 1 TFLOP/s, memory: 16 GiB, ingress: 1 Gbit/s, egress: 1 Gbit/s}}
learners:
  on_device: {{trigger: {{every: 60 s}}, epochs: 1}}
work: {{threads_per_job: {threads}}}
"""


def simulator(setting: Setting, folder: Path, data: Path) -> Callable[[], object]:
    """The same in virtual time, with all accounting, tables on disk."""
    import edgesim

    model = {"cnn": "{name: cnn, channels: [16, 32]}"}.get(
        setting.architecture.name, f'{{name: "{setting.architecture.name}"}}'
    )
    file = folder / "overhead.yaml"
    text = SCENARIO.format(
        horizon=60 * (setting.rounds + 1) - 1,
        data=data,
        test_samples=SAMPLES if setting.evaluations else 0,
        model=model,
        devices=setting.devices,
        threads=setting.threads,
    )
    file.write_text(text)
    runs = iter(range(1000))

    def run() -> object:
        return edgesim.run(file, out=folder / f"run-{next(runs)}")

    return run


def check_simulator(setting: Setting, run_dir: Path) -> None:
    from edgesim.tables import read_table

    trained = (read_table(run_dir, "computations")["kind"] == "train").sum()
    evaluated = len(read_table(run_dir, "accuracy"))
    assert trained == setting.devices * setting.rounds, f"{trained} training jobs"
    assert evaluated == setting.devices * (setting.rounds + 1), f"{evaluated} evaluations"


def timed(program: Callable[[], Any]) -> tuple[tuple[float, float], Any]:
    """Wall time, processor time of the process, result. Where others use the machine too, trust the second."""
    gc.collect()
    wall, processor = time.perf_counter(), time.process_time()
    result = program()
    return (time.perf_counter() - wall, time.process_time() - processor), result


def compare(setting: Setting, repeats: int, whole: bool) -> None:
    start: State = initialise(architecture=setting.architecture, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images.npz"
        write_images(setting, data)
        training, testing = views(setting, data)
        loop = bare_loop(setting, start, training, testing)
        programs = {"work plane": work_plane(setting, training, testing)}
        if whole:
            programs["simulator"] = simulator(setting, Path(folder), data)
        expected = timed(loop)[1]
        for name, program in programs.items():  # warm-up, and the proof that it is the same work
            result = timed(program)[1]
            if name == "work plane":
                for ours, theirs in zip(result, expected, strict=True):
                    assert all(torch.equal(ours[key], theirs[key]) for key in theirs), (
                        "the work plane trained otherwise"
                    )
            else:
                check_simulator(setting, Path(str(result)))
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
        before: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
        for _ in range(repeats):
            for name, program in programs.items():  # the loop before each: what slows the machine slows both
                before[name].append(timed(loop)[0])
                seconds[name].append(timed(program)[0])
    print(
        f"\n{setting.architecture.name}, {setting.devices} devices x {setting.rounds} rounds, "
        f"{'with' if setting.evaluations else 'without'} evaluations: ratio to the bare loop just before, of {repeats}"
    )
    for name in programs:
        for number, clock in enumerate(("wall", "processor")):
            pairs = zip(seconds[name], before[name], strict=True)
            ratios = [ours[number] / theirs[number] for ours, theirs in pairs]
            loop_s = statistics.median(theirs[number] for theirs in before[name])
            print(
                f"  {name:<10} {clock:<9} median {statistics.median(ratios):.3f}   least {min(ratios):.3f}   "
                f"most {max(ratios):.3f}   (loop {loop_s:.2f} s)"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="cnn")
    parser.add_argument("--devices", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--jobs-only", action="store_true", help="leave out the whole simulator")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {options.threads} thread(s)")
    for evaluations in (True, False):
        setting = Setting(MODELS[options.model], options.devices, options.rounds, options.threads, evaluations)
        compare(setting, options.repeats, whole=not options.jobs_only)


if __name__ == "__main__":
    main()
