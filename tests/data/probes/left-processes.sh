for each in /proc/[0-9]*; do grep -a 'left-behind' "$each/cmdline" | grep -av grep; done
