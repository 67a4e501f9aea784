"""ftransfer's own protocol: it accepts connections, and translates lines and frames into calls of
the service.
"""
