"""What happens later: jobs are claimed, planned and woken here, off the road of a request.

May import platforms and models; dramatiq is spoken in this room alone. The api comes in through `queue.py` only.
"""
