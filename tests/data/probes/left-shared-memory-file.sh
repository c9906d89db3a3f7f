ls /dev/shm/left
