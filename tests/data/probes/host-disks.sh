# A device node of every disk, then a byte of it
tail -n +3 /proc/partitions | while read -r major minor _ name; do
    mknod "/tmp/$name" b "$major" "$minor" && dd if="/tmp/$name" of=/dev/null bs=512 count=1 && echo "$name"
    rm -f "/tmp/$name"
done
