. /probes/lib
grep -l "$canary" /kaniko/.docker/config.json /kaniko/.docker/.dockerconfigjson
