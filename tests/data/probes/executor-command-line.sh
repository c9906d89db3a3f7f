. /probes/lib
grep -la "$canary" /proc/[0-9]*/cmdline /proc/[0-9]*/comm
