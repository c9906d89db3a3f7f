"""Text to lines, words, flags."""
