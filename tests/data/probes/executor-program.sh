for path in /knarr /knarr/bin/python3.11 /knarr/lib/libc.so.6 /knarr/app /kaniko /kaniko/executor; do
    [ -w "$path" ] && echo "writable $path"
done
