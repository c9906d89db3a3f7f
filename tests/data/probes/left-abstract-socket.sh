grep '@knarr-left' /proc/net/unix
