"""Changes below a folder, by whomever: what the operating system tells, compared with what was
there before.
"""
