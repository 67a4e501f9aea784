"""The asking side: a library with everything that the command line can do."""
