"""How long the report of run folders takes, and how large it is.

    python benchmarks/report_speed.py RUN_DIR...

Imports are part of it, as they are for `edgesim report`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path


def main(run_dirs: list[str]) -> None:
    began, worked = time.perf_counter(), time.process_time()
    from analysis.report import write_report

    with tempfile.TemporaryDirectory() as folder:
        file = write_report(run_dirs, Path(folder) / "report.html")
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - worked
        print(f"report {took_s:.2f} s ({cpu_s:.2f} s of CPU), {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
