"""The benchmark for GPUs runs without one, and says so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parent.parent / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_the_benchmark_for_gpus_runs_a_round_on_the_cpu_and_says_that_there_is_no_gpu() -> None:
    options = ["--device", "cpu", "--rounds", "1", "--users", "4", "--cohort", "2", "--published-minutes", "10"]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    told = subprocess.run([sys.executable, FILE, *options], capture_output=True, text=True, env=paths)
    assert "No GPU" in told.stdout, told.stderr
    assert "1 rounds: 2 trainings, 2 evaluations" in told.stdout
    projected = re.search(r"s a round; 1500 rounds would take [\d.]+ min\nthey published 10 min: ", told.stdout)
    assert projected or "too busy to tell" in told.stderr
