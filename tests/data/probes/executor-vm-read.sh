. /probes/lib
# process_vm_readv, process_vm_writev: an address that is not there is only looked at by who may.
for pid in $(others); do
    perl -e '$b = "x" x 8; $l = pack("pQ", $b, 8); $r = pack("QQ", 4096, 8);
        for (310, 311) { $g = syscall($_, $ARGV[0] + 0, $l, 1, $r, 1, 0); print "call $_\n" if $g >= 0 || $! == 14 }' "$pid"
done
