# name_to_handle_at, then open_by_handle_at
perl -e '$h = pack("L l", 128, 0) . ("\0" x 128); $m = "\0" x 8; $p = "/\0";
    syscall(303, -100, $p, $h, $m, 0); $d = syscall(2, $p, 0, 0);
    print "opened\n" if syscall(304, $d, $h, 0) >= 0'
