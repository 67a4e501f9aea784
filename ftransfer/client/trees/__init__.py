"""Whole folders: compare two trees, then move only what differs."""
