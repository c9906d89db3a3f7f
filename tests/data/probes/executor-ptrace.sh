. /probes/lib
# PTRACE_SEIZE: unlike PTRACE_ATTACH it stops nobody
for pid in $(others); do
    perl -e 'print "$ARGV[0]\n" if syscall(101, 0x4206, $ARGV[0] + 0, 0, 0) >= 0' "$pid"
done
