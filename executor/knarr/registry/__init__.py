"""The registry conversation: the OCI distribution specification over HTTP."""
