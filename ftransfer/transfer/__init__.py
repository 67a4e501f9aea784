"""Content on its way: from a source through a hasher to a sink, whatever the two are."""
