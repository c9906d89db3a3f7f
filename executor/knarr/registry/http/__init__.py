"""HTTP as registries speak it: hosts, connections, requests, what their answers mean."""
