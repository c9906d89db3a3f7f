"""Images as values, with the places that hold them: registries, layouts, archives, stores."""
