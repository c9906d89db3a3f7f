umask | grep -v '^0022$'
