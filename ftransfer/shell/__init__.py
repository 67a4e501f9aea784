"""The interactive shell of `ftransfer connect`, which runs scripts too. The cli uses its wording,
listings and progress bar.
"""
