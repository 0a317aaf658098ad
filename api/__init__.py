"""What a browser or a device may ask: parse, do one operation, answer.

`routes.py` is the page of all addresses. May import `workers.queue` (the one door to Redis), platforms and models.
"""
