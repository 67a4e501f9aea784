"""How the program starts quickly: a parser for plain command lines, and typer only when it is
needed.
"""
