"""Encryption and who is at the other end: contexts of TLS 1.3, own keys, fingerprints, known hosts.
A leaf, without a socket.
"""
