"""Keys: equal where results are equal, different wherever they could differ, hashed only when asked."""

from __future__ import annotations

import hashlib
import importlib
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.jobs import InlinePlane, JobFunction, Label, TimingPlane, job
from edgesim.jobs.arithmetic import average, evaluate, initialise, train
from edgesim.jobs.keys import SEQUENTIAL, ResultKey, cpu_capability, environment, job_key, key_head
from edgesim.jobs.kinds import Kinds
from edgesim.loaded_code import is_installed
from edgesim.models import Architecture, sources
from edgesim.models.sources import closure_digest, source_digest

MLP = Architecture.of("mlp", {"hidden": [8]}, input_shape=(4,), classes=2)
LABEL = Label("fedavg", "camera-3", 12.5, "camera-3/train/7")

constants = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@dataclass(frozen=True)
class View:
    key: str

    def materialise(self) -> None: ...


@job
def echo(*values: object, seed: int, scale: object = 1.0) -> object:
    return values


def key(*inputs: object, threads: int = 1, seed: int = 0, label: Label = LABEL, **params: object) -> str:
    return InlinePlane(threads).submit(echo, *inputs, label=label, seed=seed, **params).key


def hashed(*inputs: object, around: str = "e", path: str = SEQUENTIAL, **params: object) -> str:
    return job_key(key_head("f", "d", around, params, path), inputs, None)


def test_the_key_of_equal_jobs_is_equal_whoever_submits_them() -> None:
    reference = key(1, View("a"), seed=3, scale=[1, 2])
    assert key(1, View("a"), seed=3, scale=(1, 2), label=Label("eclm", "cloud", 99.0, "other")) == reference
    assert len(reference) == 32


def test_the_key_changes_with_everything_that_the_result_may_depend_on() -> None:
    keys = [
        key(),
        key(1),
        key(2),
        key(1, 2),
        key(2, 1),
        key([1, 2]),
        key("1"),
        key(1.0),
        key(True),
        key(None),
        key(b"1"),
        key({"1": 1}),
        key(View("a")),
        key(View("b")),
        key("a"),
        key(seed=1),
        key(threads=2),
        key(scale=2.0),
        key(scale=MLP),
        key(scale=MLP.key),
        key(scale=Architecture.of("mlp", {"hidden": [9]}, input_shape=(4,), classes=2)),
    ]
    assert len(set(keys)) == len(keys)


def test_the_key_changes_with_the_keys_of_the_inputs() -> None:
    plane = InlinePlane()
    inner = [plane.submit(echo, number, label=LABEL) for number in (1, 2)]
    outer = {plane.submit(echo, handle, label=LABEL).key for handle in (*inner, inner[0].part("x"))}
    assert len(outer) == 3
    assert plane.submit(echo, inner[0].key, label=LABEL).key not in outer  # a text that looks like a result is none


def test_the_key_is_the_same_before_and_after_the_job_ran() -> None:
    plane = InlinePlane()
    inner = plane.submit(echo, 1, label=LABEL)
    before = plane.submit(echo, inner, label=LABEL)
    expected = before.key
    before.value()
    assert before.key == expected
    assert plane.submit(echo, inner, label=LABEL).key == expected


def test_versions_threads_and_cpu_are_in_the_key() -> None:
    one, two = environment(1), environment(2)
    assert one != two
    for word in ("edgesim", "torch", "torchvision", "numpy", "threads", "cpu"):
        assert f'"{word}"' in one
    assert hashed(around=one) != hashed(around=one.replace("torch", "t0rch"))


def test_how_a_job_is_computed_is_in_its_key() -> None:
    assert hashed() != hashed(path="fused")


@given(constants, constants)
def test_different_constants_have_different_encodings(first: object, second: object) -> None:
    as_inputs = [hashed(value) for value in (first, second)]
    as_params = [hashed(p=value) for value in (first, second)]
    for keys in (as_inputs, as_params):
        assert (keys[0] == keys[1]) == (_typed(first) == _typed(second))


@pytest.mark.parametrize(("first", "second"), [(1, 1.0), (1, True), (0.0, -0.0), (None, False), ("1", 1)])
def test_parameters_that_python_takes_for_equal_have_different_keys(first: object, second: object) -> None:
    assert hashed(p=first) != hashed(p=second)
    kinds = Kinds(1)
    assert kinds.of(echo, {"scale": first}) is not kinds.of(echo, {"scale": second})


def test_jobs_of_equal_parameters_are_of_one_kind_whichever_objects_they_are() -> None:
    kinds = Kinds(1)
    first = kinds.of(echo, {"scale": (0.5, "a", MLP)})
    assert kinds.of(echo, {"scale": (float("0.5"), "a", MLP)}) is first
    rate = kinds.of(train, {"architecture": MLP, "learning_rate": 0.1, "epochs": 1, "batch_size": 64})
    again = {"batch_size": 64, "epochs": 1, "learning_rate": float("0.1"), "architecture": MLP}
    assert kinds.of(train, again) is rate
    assert kinds.of(train, {**again, "epochs": 2}) is not rate
    assert kinds.of(echo, {"scale": [1, {"a": 1}]}) is not kinds.of(echo, {"scale": [1, {"a": 2}]})
    assert Kinds(2).of(train, again).path != rate.path


def _typed(value: object) -> object:
    """``value`` with types told apart: to Python True == 1 == 1.0 and 0.0 == -0.0."""
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, dict):
        return {name: _typed(item) for name, item in value.items()}
    return type(value), repr(value)


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_inputs_do_not_run_into_each_other(first: list[str], second: list[str]) -> None:
    keys = [hashed(*inputs) for inputs in (first, second)]
    assert (keys[0] == keys[1]) == (first == second)
    results = hashed(*[ResultKey(text) for text in first])
    assert (results == keys[0]) == (not first)


# Source


def _module(folder: Path, name: str, text: str) -> ModuleType:
    (folder / f"{name}.py").write_text(text)
    importlib.invalidate_caches()
    return importlib.import_module(name)


SOURCE = """
from edgesim.jobs import job

@job(depends={depends!r}, version={version})
def f(number):
    return number + {number}
"""


def _f(folder: Path, name: str, *, number: int = 1, depends: tuple[str, ...] = (), version: int = 0) -> JobFunction:  # type: ignore[type-arg]
    text = SOURCE.format(number=number, depends=depends, version=version)
    function: JobFunction = _module(folder, name, text).f  # type: ignore[type-arg]
    return function


def test_the_digest_changes_with_source_dependencies_and_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in (("helper_a", "X = 1"), ("helper_b", "X = 2")):
        (tmp_path / f"{name}.py").write_text(text)
    same = _f(tmp_path, "digest_same"), _f(tmp_path, "digest_twin")
    assert same[0].digest() == same[1].digest()
    others = [
        _f(tmp_path, "digest_number", number=2),
        _f(tmp_path, "digest_version", version=1),
        _f(tmp_path, "digest_a", depends=("helper_a",)),
        _f(tmp_path, "digest_b", depends=("helper_b",)),
    ]
    digests = {function.digest() for function in (same[0], *others)}
    assert len(digests) == 5
    assert "helper_a" not in sys.modules  # reading a source runs nothing


def test_a_package_is_hashed_with_all_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    digests = set()
    for name, text in (("pack_a", "1"), ("pack_b", "1"), ("pack_c", "2")):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "inner" / "code.py").write_text(text)
        digests.add(source_digest(name))
    assert len(digests) == 2
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        source_digest("nowhere")


def test_a_users_module_is_hashed_with_all_of_the_users_that_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    digests = set()
    for name, text in (("a", "1"), ("b", "2"), ("c", "1")):
        (tmp_path / f"closure_model_{name}.py").write_text(
            f"import torch, nowhere_at_all\nfrom closure_mid_{name} import x"
        )
        (tmp_path / f"closure_mid_{name}.py").write_text(f"import closure_model_{name}\nimport closure_deep_{name}")
        (tmp_path / f"closure_deep_{name}.py").write_text(text)
        digests.add(closure_digest(f"closure_model_{name}"))
    assert len(digests) == 3
    (tmp_path / "closure_template.py").write_text("class {{ name }}:")
    assert closure_digest("closure_template") == source_digest("closure_template")
    deep = tmp_path / "closure_deep_a.py"
    before = closure_digest("closure_model_a")
    for change, equal in (("3", False), ("1", True)):
        deep.write_text(change)
        closure_digest.cache_clear()
        source_digest.cache_clear()
        assert (closure_digest("closure_model_a") == before) is equal
    assert "closure_mid_a" not in sys.modules


def test_a_users_job_is_hashed_with_the_helpers_that_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    digests = set()
    for name, number in (("a", 1), ("b", 2), ("c", 1)):  # each alike but for a number in a file beside it
        package = tmp_path / f"lab_{name}"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "helper.py").write_text(f"NUMBER = {number}\n")
        text = "from edgesim import job\nfrom .helper import NUMBER\n@job\ndef f(x): return NUMBER * x"
        (package / "jobs.py").write_text(text)
        digests.add(importlib.import_module(f"lab_{name}.jobs").f.digest())
    assert len(digests) == 2


def test_a_package_whose_main_module_is_run_is_hashed_with_its_helpers(tmp_path: Path) -> None:
    package = tmp_path / "run_by_name"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "main.py").write_text(
        "from edgesim import job\nfrom .helper import NUMBER\n@job\ndef f(x): return NUMBER * x\nprint(f.digest())"
    )
    digests = []
    for number in (1, 2, 1):
        (package / "helper.py").write_text(f"NUMBER = {number}\n")
        command = [sys.executable, "-m", "run_by_name.main"]
        told = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=True)
        digests.append(told.stdout)
    assert digests[0] == digests[2] != digests[1]


def test_a_users_module_that_is_called_like_one_of_pythons_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "antigravity" not in sys.modules
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "with_namesakes.py").write_text("import json, os, sys\nimport antigravity\n")
    digests = []
    for text in ("1", "2", "1"):
        (tmp_path / "antigravity.py").write_text(text)
        for known in (closure_digest, source_digest, sources._is_pythons):
            known.cache_clear()
        digests.append(closure_digest("with_namesakes"))
    sources._is_pythons.cache_clear()
    assert digests[0] == digests[2] != digests[1]


def test_a_job_without_a_source_file_needs_a_version() -> None:
    notebook = {"__name__": "a_notebook", "job": job}
    exec("@job\ndef f(x): return x\n@job(version=3)\ndef g(x): return x", notebook)
    with pytest.raises(TypeError, match=r"mark it @job\(version=1\)"):
        notebook["f"].digest()  # type: ignore[attr-defined]
    assert notebook["g"].digest().startswith("3:")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["eclm.work", "heterofl.work", "adaptive_net.work", "proximal"])
def test_a_learners_jobs_are_hashed_with_what_edgesim_computes_with(name: str) -> None:
    there = vars(importlib.import_module(f"learners.{name}")).values()
    own = [found for found in there if isinstance(found, JobFunction) and found.__module__ == f"learners.{name}"]
    assert own
    for module in ("edgesim.jobs.optimizers", "edgesim.jobs.bench", "edgesim.seeds", "edgesim.data", "edgesim.models"):
        assert all(source_digest(module) in found.digest().split(":") for found in own)


def test_a_users_module_is_hashed_with_the_versions_of_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "versioned.py").write_text("import json\nimport yaml_that_is_not_there\nimport networkx_like\n")
    site = tmp_path / "site"
    (site / "networkx_like").mkdir(parents=True)
    (site / "networkx_like" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(sources, "is_installed", lambda file: is_installed(file) or str(site) in file)
    monkeypatch.setattr(sources, "_distributions", lambda: {"networkx_like": ["networkx-like"]})
    digests = []
    for number in ("1.0", "2.0", "1.0"):
        monkeypatch.setattr(sources, "version", lambda name, number=number: number)
        closure_digest.cache_clear()
        digests.append(closure_digest("versioned"))
    assert digests[0] == digests[2] != digests[1]


def test_variables_that_change_bits_are_in_keys_where_they_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    environment.cache_clear()
    usual, capability = environment(1), cpu_capability()
    assert "=" not in capability
    try:
        for name in names:
            with monkeypatch.context() as patch:
                patch.setenv(name, "AVX2")
                environment.cache_clear()
                assert environment(1) == usual.replace(capability, f"{capability} {name}=AVX2") != usual
    finally:
        environment.cache_clear()


def test_what_a_function_closes_over_would_be_in_no_key() -> None:
    hidden = 3
    with pytest.raises(TypeError, match="closes over"):

        @job
        def f(number: int) -> int:
            return number + hidden


def test_a_job_names_its_parameters() -> None:
    with pytest.raises(TypeError, match=r"\*\*anything"):

        @job
        def f(**anything: int) -> int:
            return 0


def test_a_job_has_a_name_of_its_own() -> None:
    def made(factor: int) -> object:
        @job
        def f(number: int, *, times: int = factor) -> int:
            return number * times

        return f

    with pytest.raises(TypeError, match="at the top level of a module"):
        job(lambda number: number * 2)
    with pytest.raises(TypeError, match="at the top level of a module"):
        made(2)


def test_job_functions_travel_by_name() -> None:
    for function in (train, evaluate, average, initialise):
        assert pickle.loads(pickle.dumps(function)) is function
        assert function.__doc__


# Laziness


def test_neither_submitting_nor_a_timing_only_run_hashes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    class Untouchable:
        materialise = None

        @property
        def key(self) -> str:
            raise AssertionError("hashed")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("hashed")

    monkeypatch.setattr(hashlib, "blake2b", refuse)
    for plane in (TimingPlane(), InlinePlane()):
        handle = plane.submit(echo, Untouchable(), scale=Untouchable(), label=LABEL)
        assert not handle.done
