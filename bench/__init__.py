"""The load bench: what a gateway adds to a request, in CPU time, latency and memory.

Run it with `make bench`; README.md says what each figure means.
"""
