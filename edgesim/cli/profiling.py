"""``edgesim profile``: what the wall time of a run was spent on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgesim.cli.failing import told
from edgesim.cli.human import bytes_text
from edgesim.errors import UserError
from edgesim.stopwatch import PARTS


@told
def profile(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run folder, of a run that is over or not.")],
) -> None:
    """Show what the wall time of a run was spent on, how many jobs it had, and how much memory it took.

    Of a run that went on after it was stopped, this is the last stretch.
    """
    from edgesim.tables import read_manifest

    typer.echo(profile_text(read_manifest(run_dir), run_dir), nl=False)


def profile_text(manifest: dict[str, Any], run_dir: Path) -> str:
    """Write the profile that a manifest holds.

    Raises
    ------
    UserError
        It holds none.
    """
    found = manifest.get("profile")
    if found is None:
        raise UserError(f"{run_dir} holds no profile: no world of it has been finished, or an older edgesim wrote it")
    spent_s: dict[str, float] = found["spent_s"]
    total_s = sum(spent_s.values())
    width = max(map(len, PARTS))
    lines = [f"{total_s:.3f} s of wall time ({manifest['status']})", ""]
    for part, meaning in PARTS.items():
        seconds = spent_s.get(part, 0.0)
        lines.append(f"  {part:<{width}}  {seconds:>10.3f} s  {seconds / total_s if total_s else 0:>6.1%}  {meaning}")
    if workers_s := found.get("workers_s"):
        told = ", ".join(f"{part} {seconds:.3f} s" for part, seconds in workers_s.items())
        lines += ["", f"in worker processes, all together: {told}"]
    work: dict[str, int] = manifest.get("work", {})
    if work:
        lines += [
            "",
            f"{work['done']} jobs settled: {work['run']} computed in {work['batches']} batches, {work['found']} found",
            f"{work['fused_jobs']} of them fused, in {work['fused_batches']} batches",
        ]
    if "cache" in manifest:
        lines.append(f"{manifest['cache']['hits']} results from the cache, {manifest['cache']['kept']} kept in it")
    for name, key in (("the run's process", "peak_rss_bytes"), ("the largest worker", "worker_peak_rss_bytes")):
        if found[key]:
            lines.append(f"most memory of {name}: {bytes_text(found[key])}")
    return "\n".join(lines) + "\n"
