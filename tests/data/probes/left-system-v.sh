# A segment, a queue, a semaphore of this key
grep -h '^ *1263419986 ' /proc/sysvipc/shm /proc/sysvipc/msg /proc/sysvipc/sem
