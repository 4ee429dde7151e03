"""The command line: what each command promises, its exit codes, and that it answers at once."""

from __future__ import annotations

import io
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner
from written_runs import WrittenRun

import edgesim.cli.progress
from edgesim import learner as learner_module
from edgesim import simulation
from edgesim.cli import app
from edgesim.cli.human import time_text
from edgesim.cli.progress import Display
from edgesim.cli.running import parse_seeds
from edgesim.errors import LearnerFailure, NeedsValues, UserError
from edgesim.learner import Learner, LearnerEntry, LearnerParams
from edgesim.progress import Progress
from edgesim.run_folder import RunFolder
from edgesim.testing import tiny_scenario

ROOT = Path(__file__).parent.parent
QUICKSTART = ROOT / "scenarios" / "quickstart.yaml"
REPORT = Progress("ecavg", 3, 0, 2, 120.0, 60.0, 1800.0, 7, 12)


@pytest.fixture
def edgesim_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run ``edgesim ARGUMENTS...`` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand in for the simulation: keeps what it was called with and leaves a run folder behind."""
    calls: list[dict[str, Any]] = []

    def run(scenario: Any, *, out: Path, on_progress: Callable[[Progress], None], **options: Any) -> Path:
        calls.append({"scenario": scenario.name, "out": out, **options})
        on_progress(REPORT)
        return WrittenRun(out, learners={"ecavg": True}, name=scenario.name).close()

    monkeypatch.setattr(simulation, "run", run)
    return calls


def _terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Let ``edgesim run`` believe that standard error is a terminal; what it shows there."""
    shown = io.StringIO()
    terminal = partial(Console, file=shown, force_terminal=True, width=120)
    monkeypatch.setattr("rich.console.Console", lambda **_: terminal())
    return shown


def test_watching_in_a_terminal_shows_the_dashboard_and_then_the_comparison(
    edgesim_command: Callable[..., Any], runs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = _terminal(monkeypatch)
    done = edgesim_command("run", QUICKSTART, "--watch", "--learner", "ecavg")
    assert done.exit_code == 0, done.output
    assert "quickstart: 1 of 1 simulations finished" in shown.getvalue()
    assert "run folder: runs" in done.output


@pytest.mark.parametrize("quiet", [False, True])
def test_watching_without_a_terminal_or_quietly_is_not_a_dashboard(
    quiet: bool, edgesim_command: Callable[..., Any], runs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = _terminal(monkeypatch) if quiet else io.StringIO()
    done = edgesim_command("run", QUICKSTART, "--watch", *(["--quiet"] if quiet else []))
    assert done.exit_code == 0, done.output
    assert "simulations finished" not in shown.getvalue() + done.output
    assert ("ecavg, seed 3 (1 of 2): done in" in done.output) is not quiet


def _failing(error: BaseException) -> Callable[..., Path]:
    def run(scenario: Any, *, out: Path, on_progress: Callable[[Progress], None], **options: Any) -> Path:
        WrittenRun(out).kill()
        on_progress(replace(REPORT, world=1))
        raise error

    return run


# -- answering at once ---------------------------------------------------------------------------------------------


def _imported_by(*arguments: str) -> tuple[str, set[str]]:
    code = (
        "import sys\n"
        "from edgesim.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print('exit', end.code)\n"
        "print('\\n'.join(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, cwd=ROOT
    )
    text, _, modules = done.stdout.partition("exit 0\n")
    return text, set(modules.split())


HEAVY = {"torch", "torchvision", "pandas", "pyarrow", "scipy", "sklearn", "matplotlib"}


def test_help_imports_nothing_that_it_does_not_need() -> None:
    text, modules = _imported_by("--help")
    assert "validate" in text
    assert not modules & (HEAVY | {"numpy", "simpy", "ruamel"})


@pytest.mark.parametrize("arguments", [("validate", str(QUICKSTART)), ("learners",), ("schema",)], ids=lambda a: a[0])
def test_commands_that_run_nothing_import_no_numerics(arguments: tuple[str, ...]) -> None:
    text, modules = _imported_by(*arguments)
    assert text
    assert not modules & HEAVY


# -- exit codes ----------------------------------------------------------------------------------------------------


def test_what_is_done_exits_with_0_and_wrong_usage_with_2(edgesim_command: Callable[..., Any]) -> None:
    assert edgesim_command("--help").exit_code == 0
    assert edgesim_command("--version").output.startswith("edgesim ")
    for line in ("bogus", "run", f"run {QUICKSTART} --bogus", "compare x --format bogus"):
        assert edgesim_command(*line.split()).exit_code == 2


def test_the_users_mistakes_exit_with_2_and_a_message(
    edgesim_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for line, message in [
        ("run none.yaml", "none.yaml: there is no such file"),
        (f"run {QUICKSTART} --seeds many", "--seeds many: write seeds like 0-4 or 0,3,7"),
        ("compare .", "is not a run folder"),
    ]:
        result = edgesim_command(*line.split())
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in result.stderr
        assert "Traceback" not in result.stderr
    monkeypatch.setattr(simulation, "run", _failing(NeedsValues("eclm", "value")))
    result = edgesim_command("run", QUICKSTART, "--timing-only")
    assert result.exit_code == 2
    assert "learner 'eclm' decides by computed values" in result.stderr


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("boom"), LearnerFailure("mine", 0, 3.0, "boom"), SystemExit("boom")]
)
def test_our_fault_and_a_learners_exit_with_1_and_keep_the_traceback_in_a_file(
    edgesim_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(simulation, "run", _failing(error))
    result = edgesim_command("run", QUICKSTART)
    assert result.exit_code == 1
    assert "boom" in result.stderr
    assert "Traceback" not in result.stderr
    (kept,) = tmp_path.glob("edgesim-traceback-*.txt")
    assert str(kept) in result.stderr
    assert f"{type(error).__name__}: " in kept.read_text()


def test_ctrl_c_exits_with_130_and_says_how_the_run_stands(
    edgesim_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "run", _failing(KeyboardInterrupt()))
    result = edgesim_command("run", QUICKSTART)
    assert result.exit_code == 130
    assert "runs/quickstart-1 holds 1 of 2 worlds finished" in result.stderr
    assert "ecavg, seed 3, up to 60 s of 30 min" in result.stderr


# -- run -----------------------------------------------------------------------------------------------------------


def test_run_hands_its_options_to_the_simulation_and_shows_the_comparison(
    edgesim_command: Callable[..., Any], runs: list[dict[str, Any]]
) -> None:
    result = edgesim_command(
        *("run", QUICKSTART, "--learner", "ecavg", "--learner", "on_device", "--seeds", "0-2,7"),
        *("--out", "here", "--timing-only", "--set", "name=renamed", "--executor", "ray"),
        *("--workers", "3", "--ray-address", "auto", "--device", "cpu"),
        *("--journal-size", "500 MB", "--no-cache"),
    )
    assert result.exit_code == 0, result.output
    assert runs == [
        {
            "scenario": "renamed",
            "out": Path("here"),
            "learners": ["ecavg", "on_device"],
            "seeds": [0, 1, 2, 7],
            "timing_only": True,
            "allow_code": False,
            "journal_bytes": 500_000_000,
            "cache": False,
            "executor": "ray",
            "workers": 3,
            "ray_address": "auto",
            "device": "cpu",
        }
    ]
    assert "ecavg *" in result.stdout
    assert result.stdout.endswith("run folder: here\n")
    assert "ecavg, seed 3 (1 of 2): done in" in result.stderr


def test_run_folders_are_numbered_by_default_and_never_reused(
    edgesim_command: Callable[..., Any], runs: list[dict[str, Any]]
) -> None:
    for _ in range(2):
        assert edgesim_command("run", QUICKSTART).exit_code == 0
    assert [call["out"] for call in runs] == [Path("runs/quickstart-1"), Path("runs/quickstart-2")]
    assert (runs[0]["learners"], runs[0]["seeds"]) == (None, None)


def test_a_run_that_cannot_begin_leaves_no_folder(edgesim_command: Callable[..., Any], tmp_path: Path) -> None:
    assert edgesim_command("run", QUICKSTART, "--learner", "nobody").exit_code == 2
    assert not (tmp_path / "runs").exists()


def _begin(start: threading.Barrier, told: queue.SimpleQueue[str]) -> None:
    start.wait()
    for _ in range(20):
        folder = RunFolder.create(None, tiny_scenario(), [0], {}, timing_only=True)
        told.put(folder.path.name)
        folder.leave()


def test_runs_that_begin_at_the_same_time_get_a_folder_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    start, told = threading.Barrier(6), queue.SimpleQueue[str]()
    threads = [threading.Thread(target=_begin, args=(start, told)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [told.get() for _ in range(told.qsize())]
    assert sorted(names) == sorted(f"conformance-{number}" for number in range(1, 121))


def test_several_scenarios_get_a_folder_each_below_out(
    edgesim_command: Callable[..., Any], runs: list[dict[str, Any]], tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(QUICKSTART.read_text().replace("name: quickstart", "name: other"))
    assert edgesim_command("run", QUICKSTART, other, "--out", "both").exit_code == 0
    assert [call["out"] for call in runs] == [Path("both/quickstart"), Path("both/other")]
    result = edgesim_command("run", QUICKSTART, QUICKSTART, "--out", "same")
    assert (result.exit_code, len(runs)) == (2, 2)


def test_nothing_runs_while_one_of_the_scenarios_is_wrong(
    edgesim_command: Callable[..., Any], runs: list[dict[str, Any]]
) -> None:
    result = edgesim_command("run", QUICKSTART, "none.yaml")
    assert (result.exit_code, runs) == (2, [])


def test_quiet_prints_the_run_folder_and_nothing_else(
    edgesim_command: Callable[..., Any], runs: list[dict[str, Any]]
) -> None:
    result = edgesim_command("run", QUICKSTART, "-q")
    assert (result.stdout, result.stderr) == ("runs/quickstart-1\n", "")


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-4", [0, 1, 2, 3, 4]), ("7", [7]), ("3, 1,3", [3, 1]), ("0-1,9-10", [0, 1, 9, 10])]
)
def test_seeds_are_ranges_and_lists(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "4-0", "-1", "1.5", "0-", "0-999999999", "1,,2"])
def test_seeds_written_otherwise_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--seeds"):
        parse_seeds(text)


# -- the progress display ------------------------------------------------------------------------------------------


def _displayed(terminal: bool, quiet: bool = False) -> str:
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=160, legacy_windows=False)
    with Display(console, quiet) as display:
        display(REPORT)
        display(replace(REPORT, learner="on_device", world=1, frontier_s=0.5, pending_jobs=1))
    return written.getvalue()


def test_without_a_terminal_a_line_now_and_then_tells_how_far_a_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "computed to" not in _displayed(terminal=False)
    monkeypatch.setattr(edgesim.cli.progress, "SECONDS_PER_LINE", 0.0)
    lines = _displayed(terminal=False).splitlines()
    state = "ecavg, seed 3 (1 of 2): computed to 60 s of 30 min, simulated to 2 min, 7 jobs pending"
    assert lines[0].endswith(state)
    assert lines[1].startswith("ecavg, seed 3 (1 of 2): done in ")
    assert lines[2].endswith(
        "on_device, seed 3 (2 of 2): computed to 500 ms of 30 min, simulated to 2 min, 1 job pending"
    )
    assert lines[3].startswith("on_device, seed 3 (2 of 2): done in ")


def test_in_a_terminal_a_bar_shows_the_frontier() -> None:
    shown = _displayed(terminal=True)
    assert "computed to 500 ms of 30 min" in shown
    assert "━" in shown


def test_a_quiet_display_shows_nothing_and_still_knows_where_the_run_is() -> None:
    assert _displayed(terminal=True, quiet=True) == ""
    with Display(Console(file=io.StringIO()), quiet=True) as display:
        display(REPORT)
    assert display.last == REPORT


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0.0, "0 s"), (0.0123, "12.3 ms"), (1.9, "1.9 s"), (90.0, "90 s"), (1800.0, "30 min"), (9000.0, "2.5 h")],
)
def test_times_are_written_for_people(time_s: float, text: str) -> None:
    assert time_text(time_s) == text


# -- compare -------------------------------------------------------------------------------------------------------


def test_compare_writes_every_format_to_the_screen_or_to_a_file(
    edgesim_command: Callable[..., Any], tmp_path: Path
) -> None:
    WrittenRun(tmp_path / "one", learners={"ecavg": True, "on_device": False}).close()
    assert "ecavg *" in edgesim_command("compare", "one").stdout
    assert edgesim_command("compare", "one", "--format", "csv").stdout.startswith("scenario,learner,")
    assert "ecavg" in json.dumps(json.loads(edgesim_command("compare", "one", "--format", "json").stdout))
    assert "| learner |" in edgesim_command("compare", "one", "--format", "markdown").stdout
    result = edgesim_command("compare", "one", "--format", "latex", "--out", "table.tex")
    assert result.stdout == "written: table.tex\n"
    assert r"\begin{tabular}" in (tmp_path / "table.tex").read_text()


# -- validate, schema, new -----------------------------------------------------------------------------------------


def test_validate_tells_the_problems_of_all_files_and_praises_the_others(
    edgesim_command: Callable[..., Any], tmp_path: Path
) -> None:
    bad = ROOT / "tests" / "bad_scenarios"
    result = edgesim_command("validate", bad / "bare_number.yaml", QUICKSTART, bad / "model_name.yaml")
    assert result.exit_code == 2
    assert result.stdout.startswith(f"{QUICKSTART}: fine: 12 devices in 3 groups, 2 drifts, ")
    starts = [line.split(" ")[0] for line in result.stderr.splitlines()]
    assert starts == [
        f"{bad}/bare_number.yaml:5:10:",
        f"{bad}/bare_number.yaml:15:13:",
        f"{bad}/model_name.yaml:9:15:",
    ]


def test_validate_applies_overrides_and_never_imports_the_users_code(edgesim_command: Callable[..., Any]) -> None:
    result = edgesim_command(
        *("validate", QUICKSTART, "--set", "model={name: no.such.module:make}"),
        *("--set", "learners={mine: {learner: 'no.such.module:Mine'}}"),
    )
    assert result.exit_code == 0
    assert (
        "not checked, since it is code of your own (run needs --allow-code): mine, no.such.module:make" in result.stdout
    )


def test_schema_prints_the_json_schema_or_writes_it(edgesim_command: Callable[..., Any], tmp_path: Path) -> None:
    printed = json.loads(edgesim_command("schema").stdout)
    assert "ecavg" in printed["properties"]["learners"]["properties"]
    assert edgesim_command("schema", "--out", "schema.json").stdout == "written: schema.json\n"
    assert json.loads((tmp_path / "schema.json").read_text()) == printed


def test_new_writes_a_commented_scenario_that_is_fine_and_never_overwrites(
    edgesim_command: Callable[..., Any], tmp_path: Path
) -> None:
    assert edgesim_command("new", "orchard").exit_code == 0
    text = (tmp_path / "orchard.yaml").read_text()
    assert "name: orchard" in text
    assert text.count("#") > 30
    assert edgesim_command("validate", "orchard.yaml").exit_code == 0
    again = edgesim_command("new", "orchard.yaml")
    assert again.exit_code == 2
    assert "orchard.yaml is there already" in again.stderr
    assert (tmp_path / "orchard.yaml").read_text() == text


@pytest.mark.parametrize(("name", "message"), [("2 trees", "is no name"), ("nowhere/trees", "there is no folder")])
def test_new_refuses_names_that_are_none(edgesim_command: Callable[..., Any], name: str, message: str) -> None:
    result = edgesim_command("new", name)
    assert result.exit_code == 2
    assert message in result.stderr


# -- learners ------------------------------------------------------------------------------------------------------


def test_learners_lists_what_is_installed_with_parameters(edgesim_command: Callable[..., Any]) -> None:
    lines = edgesim_command("learners").stdout.splitlines()
    (start,) = [number for number, line in enumerate(lines) if line.startswith("on_device ")]
    block = lines[start : lines.index("", start) if "" in lines[start:] else None]
    assert any(line.split()[:2] == ["epochs", "whole"] for line in block)


class Plain(Learner):
    """Does nothing.

    Nor does this line show.
    """

    needs_values = True

    class Params(LearnerParams):
        name: str
        often: bool = True
        classes: tuple[int, ...] | None = None

    @property
    def oracle(self) -> bool:
        return True

    def run(self, world: Any) -> Any:
        yield world.sleep(1.0)


class Seer(Plain):
    """Knows."""

    needs_values = False
    Params = LearnerParams  # type: ignore[assignment]


def test_learners_shows_flags_kinds_and_defaults_and_a_broken_one_hides_no_other(
    edgesim_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {
        "broken": LearnerEntry("broken", "no_such_module:Learner"),
        "plain": LearnerEntry("plain", f"{__name__}:Plain"),
        "seer": LearnerEntry("seer", f"{__name__}:Seer"),
    }
    monkeypatch.setattr(learner_module, "discover", lambda: entries)
    result = edgesim_command("learners")
    assert result.exit_code == 0
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        "broken  (no_such_module:Learner)",
        "  cannot be loaded: UserError: learner 'no_such_module:Learner': there is no module 'no_such_module'",
        "",
        f"plain  ({__name__}:Plain)  [needs values]",
        "  Does nothing.",
        "    name     text                  required",
        "    often    true | false          = true",
        "    classes  list of whole number  = none",
        "",
        f"seer  ({__name__}:Seer)  [oracle by default]",
        "  Knows.",
    ]
