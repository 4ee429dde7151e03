"""``edgesim validate``, ``edgesim schema``, ``edgesim new``: what one does with scenario files before running them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgesim.cli.failing import told
from edgesim.cli.human import time_text
from edgesim.errors import Problem, ScenarioError, UserError

if TYPE_CHECKING:
    from edgesim.scenario import Scenario


@told
def validate(
    scenarios: Annotated[list[Path], typer.Argument(metavar="SCENARIO", help="Scenario files.")],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a value first, such as devices.0.count=20. Repeatable."
        ),
    ] = None,
) -> None:
    """Tell everything that is wrong with scenario files, without running anything."""
    from edgesim.learner import installed_params
    from edgesim.scenario import load

    problems: list[Problem] = []
    for file in scenarios:
        try:
            scenario = load(file, overrides=set_ or (), learner_params=installed_params())
        except ScenarioError as error:
            problems += error.problems
        else:
            typer.echo(f"{file}: fine: {_described(scenario)}")
    if problems:
        raise ScenarioError(tuple(problems))


def _described(scenario: Scenario) -> str:
    code = [spec.label for spec in scenario.learners if spec.is_code]
    code += [scenario.model.name] if scenario.model.is_code else []
    parts = [
        _counted(scenario.device_count, "device") + f" in {_counted(len(scenario.devices), 'group')}",
        _counted(len(scenario.drifts), "drift"),
        _counted(len(scenario.learners), "learner"),
        time_text(scenario.horizon),
    ]
    if code:
        parts.append(f"not checked, since it is code of your own (run needs --allow-code): {', '.join(code)}")
    return ", ".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@told
def schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there instead of on the screen.")] = None,
) -> None:
    """Print the JSON Schema of scenario files, for editors; with the parameters of the installed learners."""
    from edgesim.learner import installed_params
    from edgesim.scenario.json_schema import json_schema

    text = json.dumps(json_schema(installed_params()), indent=1, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        typer.echo(f"written: {out}")


@told
def new(
    name: Annotated[str, typer.Argument(help="Name of the scenario; the file is NAME.yaml.")],
) -> None:
    """Write a commented scenario to start from."""
    from edgesim.scenario.template import template

    file = Path(name if name.endswith(".yaml") else f"{name}.yaml")
    text = template(file.stem)
    if not file.parent.is_dir():
        raise UserError(f"there is no folder {file.parent}")
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise UserError(f"{file} is there already: choose another name, or remove it") from None
    typer.echo(f"written: {file}\nnext: edgesim run {file}")
