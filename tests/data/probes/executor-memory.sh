. /probes/lib
for pid in $(others); do (: < "/proc/$pid/mem") && echo "mem $pid"; (: >> "/proc/$pid/mem") && echo "mem $pid"; done
