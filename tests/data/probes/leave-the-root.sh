# Up from a second root, below the working directory: works where a root is closed by chroot alone.
mkdir -p /tmp/inner
perl -e 'chroot "/tmp/inner"; chdir ".." for 1 .. 64; chroot "."; print "outside\n" if -e "/var/tmp/knarr-outside"'
[ -e /proc/1/root/var/tmp/knarr-outside ] && echo 'by process 1'
[ -e /../var/tmp/knarr-outside ] && echo 'by ..'
rmdir /tmp/inner
true
