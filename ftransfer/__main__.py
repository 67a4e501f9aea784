"""python -m ftransfer."""

from ftransfer.cli.entry import main

if __name__ == "__main__":
    main()
