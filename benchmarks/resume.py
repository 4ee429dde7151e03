"""Runs that are killed with SIGKILL and go on: do they end with the tables of a run left alone, and at what cost?

    python benchmarks/resume.py --kills 50     # kills at random moments of a short run, each gone on with to its end
    python benchmarks/resume.py --late         # one kill at 90 % of a longer run: going on, as a share of the whole
    python benchmarks/resume.py --overhead     # the same run with and without a journal, in turns

Every process is a fresh one, imports included. The machine is told with the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHORT = {"horizon": "20 min", "epochs": 10, "hidden": [64, 64]}
# Starting Python and PyTorch takes about 4 s of the processor, twice: a run has to be long for the rest to show.
LONG = {"horizon": "60 min", "epochs": 320, "hidden": [256, 256]}


def scenario(folder: Path, horizon: str, epochs: int, hidden: list[int]) -> Path:
    """Write a scenario in which training is most of the work, as in real ones."""
    document = {
        "edgesim": 1,
        "name": "resumed",
        "horizon": horizon,
        "data": {
            "source": "digits",
            "proxy": {"share": "20 %"},
            "test_samples": 50,
            "partition": {"kind": "dirichlet", "alpha": 1, "samples": 60},
            "arrival": {"rate": "0.2 /s"},
        },
        "model": {"name": "mlp", "hidden": hidden},
        "pretrain": {"epochs": 3},
        "devices": [
            {
                "name": "cam",
                "count": 8,
                "compute": "2 GFLOP/s",
                "memory": "256 MiB",
                "uplink": "5 Mbit/s",
                "downlink": "20 Mbit/s",
            }
        ],
        "cloud": {"compute": "100 GFLOP/s", "memory": "8 GiB", "ingress": "1 Gbit/s", "egress": "1 Gbit/s"},
        "drifts": [{"name": "new", "kind": "label", "at": "5 min", "classes": [0, 1, 2]}],
        "learners": {
            "on_device": {"epochs": epochs, "trigger": {"every": "2 min"}},
            "fedavg": {"epochs": epochs, "trigger": {"every": "2 min"}, "deadline": "90 s"},
        },
    }
    file = folder / "resumed.yaml"
    file.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    return file


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edgesim.cli", "run", "--quiet", "--no-cache", *map(str, arguments)]


class Cost:
    """What a process took: wall time and, on a machine that others use too, the time of its processors."""

    def __init__(self, wall_s: float, processor_s: float) -> None:
        self.wall_s = wall_s
        self.processor_s = processor_s


def finish(*arguments: object) -> Cost:
    """Run to the end."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command(*arguments), check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.perf_counter() - began, processor_s)


def kill(file: Path, out: Path, after_processor_s: float) -> bool:
    """Run and kill once that much processor time is used; whether it was still running."""
    process = subprocess.Popen(
        command(file, "--out", out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None:
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        if (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") >= after_processor_s:  # user and system
            process.kill()
            process.wait()
            return True
        time.sleep(0.005)
    return False


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "tables").iterdir())}


def kills(folder: Path, count: int, seed: int) -> None:
    file = scenario(folder, **SHORT)
    whole = finish(file, "--out", folder / "whole")
    expected = tables(folder / "whole")
    moments = random.Random(seed)
    resumed_s: list[float] = []
    different = unborn = over = 0
    for number in range(count):
        out = folder / f"killed-{number}"
        after_s = moments.uniform(0, whole.processor_s)
        if not kill(file, out, after_s):
            over += 1
        elif not (out / "manifest.json").exists():  # so early that there is no run yet
            unborn += 1
            continue
        resumed_s.append(finish("--resume", out).processor_s)
        different += tables(out) != expected
        print(
            f"{number + 1:3d}: killed after {after_s:5.2f} s of the processor, went on for {resumed_s[-1]:5.2f} s",
            flush=True,
        )
    mean_s = statistics.mean(resumed_s)
    print(
        f"{count} kills over {whole.processor_s:.1f} s of the processor: {different} with other tables, {unborn} too "
        f"early for a folder, {over} after the end; going on took {mean_s:.2f} s of the processor on average"
    )
    if different:
        sys.exit(1)


DIE = """
import os, signal, sys
import edgesim

def die(report):
    if report.done_jobs >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

edgesim.run(sys.argv[1], out=sys.argv[2], cache=False, on_progress=die)
"""


def late(folder: Path) -> None:
    file = scenario(folder, **LONG)
    whole = finish(file, "--out", folder / "whole")
    jobs = json.loads((folder / "whole" / "manifest.json").read_text(encoding="utf-8"))["jobs"]
    died = subprocess.run([sys.executable, "-c", DIE, file, folder / "killed", str(int(0.9 * jobs))])
    if died.returncode >= 0:
        sys.exit("the run was over before it could be killed")
    resumed = finish("--resume", folder / "killed")
    same = tables(folder / "killed") == tables(folder / "whole")
    print(
        f"killed after 90 % of {jobs} jobs: the whole run takes {whole.processor_s:.1f} s of the processor "
        f"({whole.wall_s:.1f} s wall), going on {resumed.processor_s:.2f} s ({resumed.wall_s:.2f} s wall), "
        f"{resumed.processor_s / whole.processor_s:.1%} of the run ({resumed.wall_s / whole.wall_s:.1%} wall); "
        f"the tables are {'the same' if same else 'OTHERS'}"
    )


def overhead(folder: Path, rounds: int) -> None:
    file = scenario(folder, **LONG)
    seconds: dict[str, list[Cost]] = {"with": [], "without": []}
    io: list[float] = []
    for number in range(rounds):
        for name, options in (("with", ()), ("without", ("--journal-size", "0 B"))):
            out = folder / f"{name}-{number}"
            seconds[name].append(finish(file, "--out", out, *options))
            told = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
            if name == "with":
                io.append(told["profile"]["spent_s"]["io"] / told["wall_s"])
    pairs = list(zip(seconds["with"], seconds["without"], strict=True))
    wall = statistics.median(one.wall_s / other.wall_s for one, other in pairs)
    processor = statistics.median(one.processor_s / other.processor_s for one, other in pairs)
    print(
        f"with a journal {min(cost.processor_s for cost in seconds['with']):.2f} s of the processor, without "
        f"{min(cost.processor_s for cost in seconds['without']):.2f} s; median ratio of {rounds} pairs {processor:.3f} "
        f"({wall:.3f} wall); input and output are {statistics.median(io):.1%} of the run"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--late", action="store_true")
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}"
    )
    with tempfile.TemporaryDirectory() as name:
        if chosen.kills:
            kills(Path(name), chosen.kills, chosen.seed)
        if chosen.late:
            late(Path(name))
        if chosen.overhead:
            overhead(Path(name), chosen.rounds)


if __name__ == "__main__":
    main()
