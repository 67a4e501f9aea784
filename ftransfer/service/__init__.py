"""What may be done with a share, whoever asks and over whatever wire."""
