for name in kernel/core_pattern kernel/hostname kernel/modprobe vm/overcommit_memory net/ipv4/ip_forward fs/file-max; do
    (: >> "/proc/sys/$name") && echo "/proc/sys/$name"
done
for path in /proc/sysrq-trigger /proc/irq/default_smp_affinity /proc/bus/pci /proc/fs /proc/latency_stats; do
    [ -f "$path" ] && (: >> "$path") && echo "$path"
done
for path in /sys/kernel/uevent_helper /sys/kernel/mm/transparent_hugepage/enabled /sys/power/state /sys/module/module/uevent; do
    (: >> "$path") && echo "$path"
done
true
