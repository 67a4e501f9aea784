"""Where content is kept: on disk or in memory. A storage knows nothing of peers, sessions or the
wire.
"""
