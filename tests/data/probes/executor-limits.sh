. /probes/lib
# prlimit64: read the limit on descriptors
more_than_one "$(for pid in $(others); do
    perl -e '$o = "\0" x 16; print "$ARGV[0]\n" if syscall(302, $ARGV[0] + 0, 7, 0, $o) == 0' "$pid"
done)"
