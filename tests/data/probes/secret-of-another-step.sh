ls /run/secrets /run/secrets/token
