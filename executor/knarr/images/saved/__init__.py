"""Images as files that other programs have written, or read: tarballs, layouts."""
