"""The full-screen view in a browser of this machine, for one without a good terminal."""
