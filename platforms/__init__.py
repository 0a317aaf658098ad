"""How each kind of device speaks: pure translation, and one channel per platform that touches the network.

May import the standard library, protocol libraries and `models.vocabulary`; knows no database, queue or web framework.
"""
