"""How to get the same numbers again: the scenario, the commands, the versions, what was run when."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from analysis.formatting import quantity
from analysis.report.elements import Content, Markup, details, element, join, table
from analysis.run import Run


def section(run: Run) -> Markup:
    """Return the part of the page that tells how to reproduce a scenario's numbers."""
    file = f"{run.name}.yaml"
    commands = [_run_command(file, manifest) for manifest in run.manifests]
    folders = " ".join(shlex.quote(str(folder)) for folder in run.folders)
    commands += [f"edgesim compare {folders}", f"edgesim report {folders} -o report.html"]
    told = [
        element("p", ["Save the scenario below as ", element("code", file), ", then:"]),
        element("pre", element("code", "\n".join(dict.fromkeys(commands))), class_="commands", tabindex="0"),
        _runs(run),
        _versions(run),
    ]
    texts = dict.fromkeys(
        _scenario(folder, manifest) for folder, manifest in zip(run.folders, run.manifests, strict=True)
    )
    for place, text in enumerate(texts):
        name = "The scenario as it was run" + (f", {place + 1} of {len(texts)}" if len(texts) > 1 else "")
        told.append(details(name, element("pre", element("code", text), class_="scenario-file", tabindex="0")))
    return join(told)


def ranges(seeds: Sequence[int]) -> str:
    """Write seeds as the command line takes them.

    >>> ranges([0, 1, 2, 7]), ranges([3])
    ('0-2,7', '3')
    """
    parts: list[tuple[int, int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][1] + 1:
            parts[-1] = (parts[-1][0], seed)
        else:
            parts.append((seed, seed))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def _run_command(file: str, manifest: dict[str, Any]) -> str:
    words = ["edgesim", "run", shlex.quote(file), "--seeds", ranges(manifest["seeds"])]
    if list(manifest["learners"]) != list(manifest["scenario"].get("learners", {})):
        words += [word for learner in manifest["learners"] for word in ("--learner", shlex.quote(learner))]
    return " ".join([*words, *(["--timing-only"] if manifest["timing_only"] else [])])


def _runs(run: Run) -> Markup:
    rows: list[tuple[Content, Sequence[Content]]] = [
        (
            element("code", str(folder)),
            [
                str(manifest["status"]),
                ", ".join(manifest["learners"]),
                ranges(manifest["seeds"]),
                str(manifest.get("started", "not recorded")),
                quantity(float(manifest["wall_s"]), "s") if "wall_s" in manifest else "not recorded",
            ],
        )
        for folder, manifest in zip(run.folders, run.manifests, strict=True)
    ]
    return table("Run folders", ["folder", "status", "learners", "seeds", "started", "took"], rows, "texts")


def _versions(run: Run) -> Markup:
    different = _different(
        ", ".join(f"{package} {number}" for package, number in manifest.get("versions", {}).items())
        for manifest in run.manifests
    )
    machine = _different(
        f"{manifest['threads_per_job']} torch thread a job, {manifest['cpu_capability']}{_gpu(manifest)}"
        for manifest in run.manifests
        if manifest.keys() >= {"threads_per_job", "cpu_capability"}
    )
    notes: list[Content] = [element("p", f"Versions: {text}.", class_="versions") for text in different]
    if not different:
        notes.append(element("p", "Versions were not recorded.", class_="note"))
    if len(different) > 1:
        warning = "The runs were made with different versions: their numbers may differ for that."
        notes.append(element("p", warning, class_="warning"))
    on = f" (here: {'; '.join(machine)})" if machine else ""
    promise = f"Equal scenario, seeds, versions and CPU capability{on} give equal numbers, to the bit."
    return join([*notes, element("p", promise)])


def _gpu(manifest: dict[str, Any]) -> str:
    device = str(manifest.get("device", "cpu"))
    return "" if device == "cpu" else f", on {device}"


def _different(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]


def _scenario(folder: Path, manifest: dict[str, Any]) -> str:
    """The scenario file of a run folder; of a folder without one what the manifest says."""
    file = folder / "scenario.yaml"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    return json.dumps(manifest["scenario"], indent=2)
