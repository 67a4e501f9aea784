"""What clients may do with a share, over any protocol."""
