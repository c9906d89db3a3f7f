# request_key
perl -e '$t = "user\0"; $d = "knarr-left\0"; print "a key\n" if syscall(249, $t, $d, 0, 0) >= 0'
