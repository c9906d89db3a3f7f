. /probes/lib
grep -rl "$canary" /var/run/secrets/kubernetes.io /run/secrets/kubernetes.io
