"""Content in transfer: from a source through a hasher to a sink, whatever the two are."""
