"""Who a peer is: tokens, users with passwords, and the logins that a client has saved. A leaf,
without a socket.
"""
