"""What the operating system offers: threads, private files, a sandbox, the heap."""
