"""The house: imports point down the floors of the architecture, and light commands stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Longest prefix wins; an import may point to the same floor or to a lower one.
FLOORS = {
    "edgesim.cli": 6,
    "edgesim.__main__": 6,
    "analysis": 5,
    "edgesim.testing": 5,
    "learners": 4,
    "edgesim.simulation": 3,
    "edgesim.stage": 3,
    "edgesim.progress": 3,
    "edgesim.run_folder": 3,
    "edgesim.placing": 3,
    "edgesim.resuming": 3,
    "edgesim.keeping": 3,
    "edgesim.sweeps": 3,
    "edgesim.learner": 3,
    "edgesim.trigger": 3,
    "edgesim.detectors": 3,
    "edgesim.watches": 3,
    "edgesim.world": 2,
    "edgesim.jobs": 2,
    "edgesim.scenario": 1.3,
    "edgesim.data": 1.2,
    "edgesim.profiles": 1.2,
    "edgesim.models": 1.1,
    "edgesim.tables": 1,
    "edgesim.vision": 1,
    "edgesim.signals": 0,
    "edgesim.traces": 0,
    "edgesim.records": 0,
    "edgesim.seeds": 0,
    "edgesim.loaded_code": 0,
    "edgesim.stopwatch": 0,
    "edgesim.interrupts": 0,
    "edgesim.errors": 0,
}
FACE = "edgesim"  # the package itself re-exports lazily; only learners and users import from it


def modules() -> dict[str, Path]:
    found = {}
    for top in ("edgesim", "learners", "analysis"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: set[str]) -> set[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                below = f"{base}.{alias.name}"
                found.add(below if below in known else base)
    return {target for target in found if target.split(".")[0] in ("edgesim", "learners", "analysis")}


def floor(name: str) -> float:
    prefix = name
    while prefix and prefix not in FLOORS:
        prefix = prefix.rpartition(".")[0]
    if not prefix:
        raise AssertionError(f"{name} stands on no floor: say in FLOORS where it lives")
    return FLOORS[prefix]


MODULES = modules()


@pytest.mark.parametrize("name", [name for name in MODULES if name != FACE])
def test_imports_point_down(name: str) -> None:
    for target in imports(name, MODULES[name], set(MODULES)):
        if target == FACE:
            assert name.startswith(("learners", "edgesim.cli", "edgesim.run_folder")), (
                f"{name} imports from the face of the package: import the module that owns the name"
            )
            continue
        assert floor(target) <= floor(name), f"{name} (floor {floor(name)}) imports {target} (floor {floor(target)})"


def test_analysis_imports_only_the_tables_of_the_engine() -> None:
    for name, path in MODULES.items():
        if name.startswith("analysis"):
            engine = {target for target in imports(name, path, set(MODULES)) if target.startswith("edgesim")}
            assert engine <= {"edgesim.tables"}, f"{name} imports {engine}"


def test_world_and_jobs_meet_only_at_the_face_of_jobs() -> None:
    for name, path in MODULES.items():
        if name.startswith("edgesim.world"):
            inside = {t for t in imports(name, path, set(MODULES)) if t.startswith("edgesim.jobs.")}
            assert inside <= {"edgesim.jobs.arithmetic"}, f"{name} imports {inside}"
        if name.startswith("edgesim.jobs"):
            assert not [t for t in imports(name, path, set(MODULES)) if t.startswith("edgesim.world")]


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import edgesim", "torch pandas numpy simpy pydantic"),
        ("import edgesim.cli", "torch pandas numpy scipy sklearn matplotlib"),
        (
            "from learners import ecavg, on_device, cloud_only, no_adaptation",
            "torch pandas numpy scipy simpy matplotlib",
        ),
        ("from edgesim.world.network import Network", "torch pandas scipy sklearn matplotlib"),
        ("import edgesim.data.facts, edgesim.models.facts, edgesim.profiles, edgesim.scenario", "torch pandas numpy"),
    ],
)
def test_light_modules_stay_light(statement: str, forbidden: str) -> None:
    code = f"import sys; {statement}; print([m for m in {forbidden.split()!r} if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout.strip() == "[]"


DIGITS = """
edgesim: 1
name: digits
horizon: 30 s
data: {source: digits, proxy: {share: 20 %}, partition: {kind: iid, samples: 40}, arrival: {rate: 1 /s}}
model: {name: mlp, hidden: [16]}
devices:
  - {name: cam, count: 2, compute: 1 GFLOP/s, memory: 64 MiB, uplink: 1 Mbit/s, downlink: 1 Mbit/s}
cloud: {compute: 10 GFLOP/s, memory: 1 GiB, ingress: 1 Gbit/s, egress: 1 Gbit/s}
learners: {on_device: {trigger: {every: 10 s}}}
"""


def test_a_run_of_a_small_network_imports_neither_scikit_learn_nor_torchs_compiler(tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").write_text(DIGITS, encoding="utf-8")
    run = f"import edgesim; edgesim.run('{tmp_path}/digits.yaml', out='{tmp_path}/run', cache=False)"
    test_light_modules_stay_light(run, "sklearn scipy sympy torch._dynamo torchvision matplotlib")
