for directory in /sys/fs/cgroup /sys/fs/cgroup/*; do
    mkdir "$directory/knarr-probe" || continue
    [ -e "$directory/knarr-probe/cgroup.procs" ] && echo "$directory"
    rmdir "$directory/knarr-probe"
done
