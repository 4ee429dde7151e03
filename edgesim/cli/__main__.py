"""``python -m edgesim.cli``."""

from edgesim.cli import main

main()
