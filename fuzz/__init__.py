"""Fuzz every place where bytes from outside arrive: `make fuzz`. Needs the extra `fuzz`."""
