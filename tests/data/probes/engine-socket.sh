ls /var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock /run/podman/podman.sock
