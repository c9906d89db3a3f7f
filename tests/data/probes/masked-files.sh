for path in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /proc/latency_stats; do
    [ "$(head -c 1 "$path" | wc -c)" = 0 ] || echo "$path"
done
for path in /proc/acpi /proc/scsi /sys/firmware; do
    ls "$path" | sed "s|^|$path/|"
done
