# mem, kmem, port, kmsg
for minor in 1 2 4 11; do
    mknod "/tmp/mem$minor" c 1 "$minor" && dd if="/tmp/mem$minor" of=/dev/null bs=1 count=1 && echo "device 1:$minor"
    rm -f "/tmp/mem$minor"
done
dd if=/proc/kcore of=/dev/null bs=1 count=1 2>&1 | grep '^1 byte'
ls -d /dev/mem /dev/kmem /dev/kmsg /dev/port
