"""Prints the page that documents the tables."""

from .page import documentation

print(documentation(), end="")
