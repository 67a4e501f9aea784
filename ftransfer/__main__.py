"""python -m ftransfer."""

from ftransfer.cli.runtime.entry import main

if __name__ == "__main__":
    main()
