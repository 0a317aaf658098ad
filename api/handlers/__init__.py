"""Parse → one operation → render, and nothing else: a file for each noun. A verb takes a `Call` and gives a `Reply`."""
