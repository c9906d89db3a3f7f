"""One build: a request, its plan, the work, the outputs."""
