# 3 is the directory itself
for descriptor in /proc/self/fd/*; do
    case ${descriptor##*/} in 0|1|2|3) ;; *) readlink "$descriptor" ;; esac
done
perl -e 'opendir $d, "/proc/self/fd"; for (sort readdir $d) { print "$_\n" if $_ > 3 }'
