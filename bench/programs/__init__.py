"""Small programs that a case runs as processes: yardsticks, and clients without a command line."""
