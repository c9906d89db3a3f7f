. /probes/lib
readable syscall
