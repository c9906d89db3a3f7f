. /probes/lib
for pid in $(others); do readlink "/proc/$pid/ns/mnt"; done
