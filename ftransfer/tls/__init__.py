"""Encryption and peer identity: TLS 1.3 contexts, own keys, fingerprints, known hosts.

A leaf, without a socket.
"""
