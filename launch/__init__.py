"""The top floor: starts everything on one machine, and ends it. `python -m launch` is what `make run` calls.

May import any room; what runs before the first child is standard library alone, so that a start is quick.
"""
