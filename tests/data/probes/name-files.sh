# What later names mean, for the executor too.
for path in /etc/resolv.conf /etc/hosts; do (: >> "$path") && echo "$path"; done
hostname probed && echo 'host name'
