"""The serving side: it accepts connections, answers commands and goes on listening."""
