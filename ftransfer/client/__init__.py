"""The client library: everything that the command line can do."""
