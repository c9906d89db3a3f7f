(: < /dev/tty) && echo opened
