"""What is true: one noun a file, its table, its rules as methods that take `now`, its queries as functions.

May import the standard library, SQLAlchemy, cryptography, msgspec and its siblings; nothing above it.
"""
