"""What is measured with it, one file for each kind of case."""
