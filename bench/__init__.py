"""Measures ftransfer beside what one would use instead. `python -m bench.run`, or `make bench`;
docs/performance.md tells more.
"""
