"""Changes below a folder, whoever makes them: the operating system's hints, compared with what was
there before.
"""
