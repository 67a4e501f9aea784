"""Start-up of the program: plain command lines are parsed here, and typer is imported on demand."""
