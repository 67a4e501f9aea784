"""Bytes that nobody has thought of, at every place where bytes of others come in. `make fuzz` runs
it; needs the extra `fuzz`.
"""
