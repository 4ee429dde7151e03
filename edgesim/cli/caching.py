"""``edgesim cache``: what the user's cache holds, and how to empty it."""

from __future__ import annotations

import typer

from edgesim.cli.failing import told
from edgesim.cli.human import bytes_text
from edgesim.errors import UserError

cache = typer.Typer(no_args_is_help=True, help="Results of pretraining that runs have in common.")


@cache.command()
@told
def info() -> None:
    """Tell where the cache is and how much it holds."""
    from edgesim.jobs.cache import CACHE_BYTES, VARIABLE, Cache, cache_folder

    folder = cache_folder()
    if folder is None:
        typer.echo(f"there is no cache: {VARIABLE} is empty")
        return
    files, partial = Cache(folder).files(), Cache(folder).partial_files()
    size, left = (sum(stat.st_size for _, stat in found) for found in (files, partial))
    typer.echo(f"{folder}\n{len(files)} results, {bytes_text(size + left)} of at most {bytes_text(CACHE_BYTES)}")
    if partial:
        typer.echo(f"of these {bytes_text(left)} in files that are being written, or were when a process was killed")


@cache.command()
@told
def clear() -> None:
    """Remove all results from the cache; runs compute them again."""
    from edgesim.jobs.cache import VARIABLE, Cache, cache_folder

    folder = cache_folder()
    if folder is None:
        raise UserError(f"there is no cache: {VARIABLE} is empty")
    count, size = Cache(folder).clear()
    typer.echo(f"removed {count} results, {bytes_text(size)}, from {folder}")
