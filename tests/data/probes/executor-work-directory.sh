ls -d /kaniko/knarr-* /var/tmp/knarr-* /tmp/knarr-* /scratch/knarr-*
