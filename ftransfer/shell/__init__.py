"""The interactive shell of `ftransfer connect`, which also runs scripts.

The cli uses its formatting, listings and progress bar.
"""
