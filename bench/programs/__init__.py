"""Small programs that a case runs as processes of their own: yardsticks, and clients that no
command line stands for.
"""
