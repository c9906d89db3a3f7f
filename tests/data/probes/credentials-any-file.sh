. /probes/lib
# Everywhere, packed or not, but where other probes look: what is mounted into the container.
find / -xdev -type f ! -path '/probes/*' ! -path '/proc/*' ! -path '/sys/*' \
    ! -path '/kaniko/.docker/*' ! -path '*/kubernetes.io/*' -exec grep -la "$canary" {} +
for directory in /kaniko /knarr /dev/shm /run /tmp /var/tmp /workspace /cache /scratch; do
    find "$directory" -type f ! -path '/kaniko/.docker/*' ! -path '*/kubernetes.io/*' -exec grep -la "$canary" {} +
    find "$directory" -type f ! -path '/kaniko/.docker/*' ! -path '*/kubernetes.io/*' | while read -r file; do
        gzip -dc "$file" | grep -qa "$canary" && echo "$file, packed"
    done
done
