"""Changes below a folder, by any program: system hints, compared with what was there before."""
