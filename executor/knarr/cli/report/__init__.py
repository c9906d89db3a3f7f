"""What a build shows: lines, live progress, folds and notes for CI, a page to read afterwards."""
