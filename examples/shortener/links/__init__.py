"""What the shortener is, whichever framework serves it."""
