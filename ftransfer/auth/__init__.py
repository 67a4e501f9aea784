"""Who a peer is: tokens, users with passwords, and saved logins of a client.

A leaf, without a socket.
"""
