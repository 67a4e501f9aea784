"""Whole folders: compare two trees, then transfer only what differs."""
