"""Single files: downloads and uploads, over one connection or several."""
