"""What flags say about the image and the places that it goes to."""
