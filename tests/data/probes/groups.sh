id -G | grep -v '^0$'
