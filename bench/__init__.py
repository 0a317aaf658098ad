"""How fast, and how fast it could be: each figure beside its floor, measured in the same run, in turn.

A room of its own above all others: nothing leans on it, and it may look into every room.
"""
