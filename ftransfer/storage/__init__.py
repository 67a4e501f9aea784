"""Stores of content: on disk or in memory. A store knows nothing of peers, sessions or the wire."""
