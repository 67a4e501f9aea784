"""Start-up of the program: plain command lines are parsed here, and typer is imported on demand.

With plain typer, and commands imported by name, a small get takes 1.96 times the CPU time
(docs/performance-notebook.md, "What a short command costs").
"""
