# keyctl(KEYCTL_SEARCH) in the user's and the user's session keyring
perl -e '$t = "user\0"; $d = "knarr-user\0";
    for (-4, -5) { print "a key in $_\n" if syscall(250, 10, $_, $t, $d, 0) >= 0 }'
grep knarr-user /proc/keys
