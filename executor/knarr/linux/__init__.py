"""What the kernel offers, one call at a time: nothing here knows of images."""
