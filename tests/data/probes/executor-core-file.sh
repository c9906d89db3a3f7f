. /probes/lib
for pid in $(others); do
    grep 'Max core file size' "/proc/$pid/limits" | grep -v 'size  *0 '
done
