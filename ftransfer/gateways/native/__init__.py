"""The native protocol: accepts connections, and translates lines and frames to service calls."""
