"""One verb, one function, one transaction. Knows people and devices, never a web framework, a status or a header."""
