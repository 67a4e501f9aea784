"""Measure ftransfer beside its alternatives: `python -m bench.run`, or `make bench`.

Method and results are in docs/performance.md.
"""
